package main

import (
	"context"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"

	"agentvault/broker"
	"agentvault/broker/audit"
	"agentvault/store"
	"agentvault/vault/seal"
)

func auditPath(dataDir string) string { return filepath.Join(dataDir, "audit.log") }

// openAudit opens the audit log behind what the store has seen of it.
func (i *instance) openAudit(ctx context.Context, key seal.Key, metrics prometheus.Registerer) error {
	head, err := auditHead(ctx, i.db)
	if err != nil {
		return err
	}
	o := i.cfg.Audit
	o.Path, o.Key, o.Head, o.Registerer, o.Log = auditPath(i.cfg.DataDir), key.ForAudit(), head, metrics, i.log
	i.audit, err = audit.Open(o)
	return err
}

// auditHead is the newest record that the store has seen.
func auditHead(ctx context.Context, db *store.DB) (audit.Head, error) {
	tail, _, err := db.LogTail(ctx)
	return audit.Head{Seq: tail.Seq, MAC: tail.MAC}, err
}

// recorders are what copies from the audit log into the store, and from the
// store into the audit log.
func (i *instance) recorders() (*broker.Filler, *broker.Mirror, error) {
	filler, err := broker.NewFiller(broker.FillerOptions{
		Path: auditPath(i.cfg.DataDir), Appended: i.audit.Appended(), Safe: i.audit.Safe, Into: i.db, Retention: i.cfg.Retention, Log: i.log,
	})
	if err != nil {
		return nil, nil, err
	}
	mirror, err := broker.NewMirror(broker.MirrorOptions{From: i.db, Into: i.audit, Retention: i.cfg.EventRetention, Log: i.log})
	return filler, mirror, err
}

// recorded returns when the request log has all that was recorded when it was
// called, or when its ctx ends.
func (i *instance) recorded(filler *broker.Filler) func(context.Context) {
	return func(ctx context.Context) {
		_ = i.audit.Flush() // a log that cannot be written says so itself; what it has is shown
		filler.CatchUp(ctx)
	}
}
