package broker

import "agentvault/vault/seal"

// plaintexts are the boxes that were opened for one request. They are cleared
// as soon as their values stand in it; what stands there, net/http copies, and
// the collector takes in its time.
type plaintexts []seal.Plaintext

// from is open, and remembers.
func (p *plaintexts) from(open func(key string) (seal.Plaintext, error)) func(key string) (seal.Plaintext, error) {
	return func(key string) (seal.Plaintext, error) {
		opened, err := open(key)
		if err == nil {
			*p = append(*p, opened)
		}
		return opened, err
	}
}

func (p *plaintexts) clear() {
	for _, opened := range *p {
		opened.Clear()
	}
}
