package ca

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	encoding "encoding/asn1"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// signLeaf returns the certificate that a template describes, for a key: what
// x509.CreateCertificate returns, without the check of its own signature, which
// costs as much as the rest.
func (i *issuer) signLeaf(template *x509.Certificate, key *ecdsa.PublicKey) ([]byte, error) {
	spki, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, err
	}
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(tbs *cryptobyte.Builder) { i.addLeaf(tbs, template, spki) })
	tbs, err := b.Bytes()
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(tbs)
	signature, err := ecdsa.SignASN1(rand.Reader, i.key, digest[:])
	if err != nil {
		return nil, err
	}
	b = cryptobyte.Builder{}
	b.AddASN1(asn1.SEQUENCE, func(c *cryptobyte.Builder) {
		c.AddBytes(tbs)
		addAlgorithm(c)
		c.AddASN1BitString(signature)
	})
	return b.Bytes()
}

// Object identifiers of RFC 5280 §4.2 and RFC 5758 §3.2.
var (
	oidECDSAWithSHA256  = encoding.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
	oidCommonName       = encoding.ObjectIdentifier{2, 5, 4, 3}
	oidKeyUsage         = encoding.ObjectIdentifier{2, 5, 29, 15}
	oidExtKeyUsage      = encoding.ObjectIdentifier{2, 5, 29, 37}
	oidServerAuth       = encoding.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 1}
	oidBasicConstraints = encoding.ObjectIdentifier{2, 5, 29, 19}
	oidAuthorityKeyID   = encoding.ObjectIdentifier{2, 5, 29, 35}
	oidSubjectAltName   = encoding.ObjectIdentifier{2, 5, 29, 17}
)

// addLeaf writes what is signed: TBSCertificate of RFC 5280 §4.1.
func (i *issuer) addLeaf(b *cryptobyte.Builder, template *x509.Certificate, spki []byte) {
	b.AddASN1(asn1.Tag(0).Constructed().ContextSpecific(), func(v *cryptobyte.Builder) { v.AddASN1Int64(2) }) // v3
	b.AddASN1BigInt(template.SerialNumber)
	addAlgorithm(b)
	b.AddBytes(i.cert.RawSubject)
	b.AddASN1(asn1.SEQUENCE, func(v *cryptobyte.Builder) {
		addTime(v, template.NotBefore)
		addTime(v, template.NotAfter)
	})
	name := template.Subject.CommonName
	b.AddASN1(asn1.SEQUENCE, func(subject *cryptobyte.Builder) {
		if name != "" {
			addCommonName(subject, name)
		}
	})
	b.AddBytes(spki)
	b.AddASN1(asn1.Tag(3).Constructed().ContextSpecific(), func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(list *cryptobyte.Builder) {
			addExtension(list, oidKeyUsage, true, func(v *cryptobyte.Builder) {
				v.AddASN1(asn1.BIT_STRING, func(bits *cryptobyte.Builder) { bits.AddBytes([]byte{7, 0x80}) }) // digitalSignature
			})
			addExtension(list, oidExtKeyUsage, false, func(v *cryptobyte.Builder) {
				v.AddASN1(asn1.SEQUENCE, func(uses *cryptobyte.Builder) { uses.AddASN1ObjectIdentifier(oidServerAuth) })
			})
			addExtension(list, oidBasicConstraints, true, func(v *cryptobyte.Builder) {
				v.AddASN1(asn1.SEQUENCE, func(*cryptobyte.Builder) {}) // no authority
			})
			addExtension(list, oidAuthorityKeyID, false, func(v *cryptobyte.Builder) {
				v.AddASN1(asn1.SEQUENCE, func(id *cryptobyte.Builder) {
					id.AddASN1(asn1.Tag(0).ContextSpecific(), func(id *cryptobyte.Builder) { id.AddBytes(i.cert.SubjectKeyId) })
				})
			})
			addExtension(list, oidSubjectAltName, name == "", func(v *cryptobyte.Builder) {
				v.AddASN1(asn1.SEQUENCE, func(names *cryptobyte.Builder) { addNames(names, template) })
			})
		})
	})
}

func addAlgorithm(b *cryptobyte.Builder) {
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oidECDSAWithSHA256) })
}

// addTime chooses the form by the year (RFC 5280 §4.1.2.5).
func addTime(b *cryptobyte.Builder, t time.Time) {
	if t.Year() < 2050 {
		b.AddASN1UTCTime(t)
	} else {
		b.AddASN1GeneralizedTime(t)
	}
}

// addCommonName writes a name of one attribute. A host has nothing but
// characters of a PrintableString.
func addCommonName(b *cryptobyte.Builder, name string) {
	b.AddASN1(asn1.SET, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(oidCommonName)
			b.AddASN1(asn1.PrintableString, func(b *cryptobyte.Builder) { b.AddBytes([]byte(name)) })
		})
	})
}

func addExtension(b *cryptobyte.Builder, id encoding.ObjectIdentifier, critical bool, value cryptobyte.BuilderContinuation) {
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(id)
		if critical {
			b.AddASN1Boolean(true)
		}
		b.AddASN1(asn1.OCTET_STRING, value)
	})
}

// addNames writes the one name that a leaf is for: dNSName or iPAddress.
func addNames(b *cryptobyte.Builder, template *x509.Certificate) {
	for _, host := range template.DNSNames {
		b.AddASN1(asn1.Tag(2).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes([]byte(host)) })
	}
	for _, ip := range template.IPAddresses {
		b.AddASN1(asn1.Tag(7).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes(ip) })
	}
}
