package broker

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the data plane's. Every label's values come from a closed set:
// entrances, classes of status and codes of faults.
type metrics struct {
	exchanges *prometheus.CounterVec   // entrance, status class
	faults    *prometheus.CounterVec   // entrance, code
	seconds   *prometheus.HistogramVec // entrance
	of        [MITM + 1]entranceMetrics
	inFlight  prometheus.Gauge
	tunnels   prometheus.Gauge
	scrubbed  prometheus.Counter
	revision  prometheus.Gauge
}

// entranceMetrics are those of one entrance, which every exchange counts in:
// finding them by their labels costs more than counting.
type entranceMetrics struct {
	exchanges [len(statusClasses)]prometheus.Counter
	seconds   prometheus.Observer
}

// newMetrics builds the metrics and registers them, if there is a registerer.
func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		exchanges: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "agent_vault_exchanges_total",
			Help: "Requests of agents, by entrance and class of the status they got (none: cut).",
		}, []string{"entrance", "status"}),
		faults: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "agent_vault_faults_total",
			Help: "Requests that the vault answered itself, by entrance and code.",
		}, []string{"entrance", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "agent_vault_exchange_seconds",
			Help:    "Time from a request's arrival to its outcome.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300},
		}, []string{"entrance"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "agent_vault_exchanges_in_flight", Help: "Exchanges that are open now.",
		}),
		tunnels: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "agent_vault_tunnels_open", Help: "CONNECT tunnels that are open now.",
		}),
		scrubbed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "agent_vault_scrubbed_total", Help: "Places in responses where a credential was masked.",
		}),
		revision: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "agent_vault_view_revision", Help: "Revision of the store that this node decides on.",
		}),
	}
	for _, e := range []Entrance{Path, MITM} {
		m.of[e].seconds = m.seconds.WithLabelValues(e.String())
		for i, class := range statusClasses {
			m.of[e].exchanges[i] = m.exchanges.WithLabelValues(e.String(), class)
		}
	}
	if r != nil {
		r.MustRegister(m.exchanges, m.faults, m.seconds, m.inFlight, m.tunnels, m.scrubbed, m.revision)
	}
	return m
}

var statusClasses = [...]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}

func (m *metrics) observe(e Entrance, status int, f *Fault, took time.Duration) {
	class := status / 100
	if class < 0 || class >= len(statusClasses) {
		class = 0
	}
	m.of[e].exchanges[class].Inc()
	if f != nil {
		m.faults.WithLabelValues(e.String(), f.Code).Inc()
	}
	m.of[e].seconds.Observe(took.Seconds())
}
