package store

import (
	"database/sql"
	"errors"

	"agentvault/vault"
)

const selectProposals = `SELECT id, vault_id, number, status, services, credentials, message, user_message,
	asker_kind, asker_name, link_digest, created_at, expires_at, reviewed_at, reviewed_by, review_note FROM proposals `

func scanProposal(r *sql.Rows, p *vault.Proposal) error {
	return r.Scan(&p.ID, &p.VaultID, &p.Number, &p.Status, asJSON{&p.Services}, asJSON{&p.Credentials}, &p.Message, &p.UserMessage,
		&p.AskerKind, &p.AskerName, digest{&p.LinkDigest}, millis{&p.CreatedAt}, millis{&p.ExpiresAt},
		millisOrNone{&p.ReviewedAt}, &p.ReviewedBy, &p.ReviewNote)
}

func (t *tx) NextProposal(vaultID string) (n int64, err error) {
	err = t.one(`UPDATE vaults SET last_proposal = last_proposal + 1 WHERE id = ? RETURNING last_proposal`, []any{vaultID}, &n)
	return n, err
}

func (t *tx) ProposalByNumber(vaultID string, number int64) (vault.Proposal, error) {
	return t.wholeProposal(first(t, scanProposal, selectProposals+`WHERE vault_id = ? AND number = ?`, vaultID, number))
}

func (t *tx) ProposalByLink(d [32]byte) (vault.Proposal, error) {
	return t.wholeProposal(first(t, scanProposal, selectProposals+`WHERE link_digest = ?`, d[:]))
}

func (t *tx) wholeProposal(p vault.Proposal, err error) (vault.Proposal, error) {
	if err != nil {
		return p, err
	}
	return p, t.fillProposal(&p)
}

// ListProposals returns them newest first.
func (t *tx) ListProposals(f vault.ProposalFilter) ([]vault.Proposal, error) {
	w := new(where)
	if f.VaultID != "" {
		w.and(`vault_id = ?`, f.VaultID)
	}
	switch f.Status {
	case "":
	case vault.ProposalPending:
		w.and(`status = 'pending' AND expires_at > ?`, ms(f.Now))
	case vault.ProposalExpired:
		w.and(`(status = 'expired' OR status = 'pending' AND expires_at <= ?)`, ms(f.Now))
	default:
		w.and(`status = ?`, f.Status)
	}
	if f.Overdue {
		w.and(`status = 'pending' AND expires_at <= ?`, ms(f.Now))
	}
	if f.Asker != "" {
		w.and(`id IN (SELECT proposal_id FROM proposal_askers WHERE asker_id = ?)`, f.Asker)
	}
	if f.Before > 0 {
		w.and(`number < ?`, f.Before)
	}
	// Numbers, not times: pages of a vault go by them, and a clock may go back.
	query := selectProposals + w.String() + ` ORDER BY number DESC, created_at DESC`
	if f.Limit > 0 {
		query += ` LIMIT ?`
		w.args = append(w.args, f.Limit)
	}
	all, err := list(t, scanProposal, query, w.args...)
	if err != nil {
		return nil, err
	}
	for i := range all {
		if err := t.fillProposal(&all[i]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

type boxRow struct {
	key string
	box []byte
}

// fillProposal adds who asked, and the values that came along.
func (t *tx) fillProposal(p *vault.Proposal) (err error) {
	if p.Askers, err = list(t, func(r *sql.Rows, id *string) error { return r.Scan(id) },
		`SELECT asker_id FROM proposal_askers WHERE proposal_id = ? ORDER BY position`, p.ID); err != nil {
		return err
	}
	boxes, err := list(t, func(r *sql.Rows, b *boxRow) error { return r.Scan(&b.key, &b.box) },
		`SELECT key, box FROM proposal_values WHERE proposal_id = ?`, p.ID)
	for _, b := range boxes {
		for i := range p.Credentials {
			if p.Credentials[i].Key == b.key {
				p.Credentials[i].Box = b.box
			}
		}
	}
	return err
}

// PutProposal stores a proposal whole. What was asked for is stored once, and
// never changed.
func (t *tx) PutProposal(p vault.Proposal) error {
	if err := t.exec(`INSERT INTO proposals (id, vault_id, number, status, services, credentials, message, user_message,
			asker_kind, asker_name, link_digest, created_at, expires_at, reviewed_at, reviewed_by, review_note)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET status = excluded.status, reviewed_at = excluded.reviewed_at,
			reviewed_by = excluded.reviewed_by, review_note = excluded.review_note`,
		p.ID, p.VaultID, p.Number, p.Status, asJSON{p.Services}, asJSON{p.Credentials}, p.Message, p.UserMessage,
		p.AskerKind, p.AskerName, p.LinkDigest[:], ms(p.CreatedAt), ms(p.ExpiresAt), msOrNone(p.ReviewedAt), p.ReviewedBy, p.ReviewNote); err != nil {
		return err
	}
	for i, id := range p.Askers {
		if err := t.exec(`INSERT INTO proposal_askers (proposal_id, asker_id, position) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`, p.ID, id, i); err != nil {
			return err
		}
	}
	for _, slot := range p.Credentials {
		if slot.Box == nil {
			err := t.execOne(`DELETE FROM proposal_values WHERE proposal_id = ? AND key = ?`, p.ID, slot.Key)
			if err == nil {
				t.removed = true
			} else if !errors.Is(err, vault.ErrNotFound) { // most came without a value
				return err
			}
			continue
		}
		if err := t.exec(`INSERT INTO proposal_values (proposal_id, key, box) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`, p.ID, slot.Key, slot.Box); err != nil {
			return err
		}
	}
	return nil
}
