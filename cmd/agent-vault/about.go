package main

import (
	"context"

	"agentvault/api"
)

// about is what the API says of this server to its owners.
func (i *instance) about(ctx context.Context) (api.ServerInfo, error) {
	v := currentVersion()
	schema, err := i.db.Schema(ctx)
	if err != nil {
		return api.ServerInfo{}, err
	}
	info := api.ServerInfo{
		Version: v.Version, Revision: v.Revision, Go: v.Go, Platform: v.Platform, Schema: schema, Audit: i.auditStatus(),
		Listeners: []api.Listener{
			{Name: "listen.api", Address: i.apiAddr.String(), URL: i.baseURL()},
			{Name: "listen.proxy", Address: i.mitmAddr.String(), URL: i.mitmURL()},
		},
	}
	if i.cfg.PprofSocket != "" {
		info.Listeners = append(info.Listeners, api.Listener{Name: "debug.pprof_socket", Address: i.cfg.PprofSocket})
	}
	return info, nil
}

func (i *instance) auditStatus() api.AuditStatus {
	s, err := i.audit.Look()
	if err != nil {
		i.log.Error("the audit log could not be looked at", "err", err)
		s.Problem = "its files cannot be read; the server's log says why"
	}
	a := api.AuditStatus{LastSeq: s.Seq, Segments: s.Segments, Checked: s.Checked, Problem: s.Problem}
	if !s.Time.IsZero() {
		a.LastTime = &s.Time
	}
	if s.Lost != nil {
		a.LostFrom, a.LostTo = s.Lost.FromSeq, s.Lost.ToSeq
	}
	return a
}
