package audit

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	records  prometheus.Counter
	failures prometheus.Counter
	fsync    prometheus.Histogram
	segments prometheus.Gauge
}

// newMetrics builds the metrics and registers them, if there is a registerer.
func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		records: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "agent_vault_audit_records_total", Help: "Records that were written to the audit log.",
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "agent_vault_audit_failures_total", Help: "Records that could not be written to the audit log.",
		}),
		fsync: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "agent_vault_audit_fsync_seconds",
			Help:    "Time that the disk took to confirm records (audit.sync: power).",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 5},
		}),
		segments: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "agent_vault_audit_segments", Help: "Segments of the audit log that are kept.",
		}),
	}
	if r != nil {
		r.MustRegister(m.records, m.failures, m.fsync, m.segments)
	}
	return m
}
