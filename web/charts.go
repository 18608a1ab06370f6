package web

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"agentvault/api"
)

// A span is a time that charts are of.
type span struct {
	Value, Label string
	points       int
	step         time.Duration
	layout       string // of times on the axis
}

var spans = []span{
	{"hour", "Last hour", 60, time.Minute, "15:04"},
	{"day", "Last day", 48, 30 * time.Minute, "15:04"},
	{"week", "Last week", 84, 2 * time.Hour, "Jan 2, 15:04"},
}

// A chart is a drawing of chartWidth by chartHeight, stretched to its place.
type chart struct {
	Name, Title, Desc string // Name is part of ids
	Bars              []bar
	Lines             []line
	Scale             [3]string // top, middle, bottom
	Times             [3]string // left, middle, right
	Keys              []key
}

// A bar is a rectangle. Numbers are as SVG has them.
type bar struct{ X, Y, Width, Height, Class, Title string }

// A line goes through points, as in "0,1 2,3".
type line struct{ Points, Class string }

// A key says what a colour means.
type key struct{ Class, Label string }

const chartWidth, chartHeight = 1000, 100

// moment is a row of the table that says what the charts show.
type moment struct {
	Time              time.Time
	Requests, Refused int64
	P50, P95          string
}

// chartsPage draws requests, refusals and durations over time.
func chartsPage(v *visit) error {
	s, ok := spanOf(v.r.URL.Query().Get("over"))
	if !ok {
		return refusal{http.StatusBadRequest, "Charts are of the last hour, day or week."}
	}
	until := v.Now().Truncate(s.step).Add(s.step) // the last bar grows
	f := api.RequestFilter{Vault: v.r.PathValue("vault"), Since: until.Add(-time.Duration(s.points) * s.step), Until: until}
	series, err := v.client.RequestSeries(v.ctx(), f, s.points)
	if err != nil {
		return err
	}
	data := struct {
		Vault    string
		Span     span
		Spans    []span
		Charts   []chart
		Moments  []moment
		Complete *time.Time // what is older may be more than is shown; nil: nothing is
	}{Vault: f.Vault, Span: s, Spans: spans, Charts: []chart{counts(s, series.Points), durations(s, series.Points)}}
	if series.CompleteFrom.After(f.Since) {
		data.Complete = &series.CompleteFrom
	}
	for _, p := range series.Points {
		if p.Requests == 0 {
			continue
		}
		m := moment{Time: p.Time, Requests: p.Requests, Refused: p.Refused}
		if p.Timed > 0 {
			m.P50, m.P95 = micros(p.P50Micros), micros(p.P95Micros)
		}
		data.Moments = append(data.Moments, m)
	}
	return v.show(http.StatusOK, "charts.html", "Charts of "+f.Vault, data)
}

func spanOf(value string) (span, bool) {
	for _, s := range spans {
		if s.Value == value || value == "" {
			return s, true
		}
	}
	return span{}, false
}

// counts draws a bar for each point: what was refused stands on what was not.
func counts(s span, points []api.RequestPoint) chart {
	var all, refused, most int64
	for _, p := range points {
		all, refused, most = all+p.Requests, refused+p.Refused, max(most, p.Requests)
	}
	top := nice(most)
	c := chart{
		Name: "counts", Title: "Requests and refusals",
		Desc:  fmt.Sprintf("%d requests, %d of them refused; at most %d in %s.", all, refused, most, each(s.step)),
		Keys:  []key{{"let-through", "let through"}, {"refused", "refused"}},
		Scale: [3]string{fmt.Sprint(top), half(top), "0"}, Times: times(s, points),
	}
	width := float64(chartWidth) / float64(max(len(points), 1))
	for i, p := range points {
		if p.Requests == 0 {
			continue
		}
		passed := height(p.Requests-p.Refused, top)
		stopped := height(p.Refused, top)
		title := fmt.Sprintf("%s: %d requests, %d refused", p.Time.UTC().Format("2006-01-02 15:04 UTC"), p.Requests, p.Refused)
		for _, b := range []struct {
			class        string
			from, height float64
		}{{"let-through", chartHeight - passed, passed}, {"refused", chartHeight - passed - stopped, stopped}} {
			if b.height > 0 {
				c.Bars = append(c.Bars, bar{number(float64(i)*width + width/10), number(b.from), number(width * .8), number(b.height), b.class, title})
			}
		}
	}
	return c
}

// durations draws two lines, with gaps where nothing was timed.
func durations(s span, points []api.RequestPoint) chart {
	var most, timed int64
	for _, p := range points {
		most, timed = max(most, p.P95Micros), timed+p.Timed
	}
	top := nice(most)
	c := chart{
		Name: "durations", Title: "How long requests took",
		Desc:  fmt.Sprintf("%d requests that an upstream answered. Of those of %s, 95 %% took at most %s.", timed, each(s.step), micros(most)),
		Keys:  []key{{"p50", "half took no longer"}, {"p95", "95 % took no longer"}},
		Scale: [3]string{micros(top), micros(top / 2), "0"}, Times: times(s, points),
	}
	width := float64(chartWidth) / float64(max(len(points), 1))
	for _, l := range []struct {
		class string
		of    func(api.RequestPoint) int64
	}{{"p95", func(p api.RequestPoint) int64 { return p.P95Micros }}, {"p50", func(p api.RequestPoint) int64 { return p.P50Micros }}} {
		var drawn []string
		end := func() {
			if drawn != nil {
				c.Lines = append(c.Lines, line{strings.Join(drawn, " "), l.class})
			}
			drawn = nil
		}
		for i, p := range points {
			if p.Timed == 0 {
				end()
				continue
			}
			// From side to side of its place, so that one alone is seen too.
			y := number(chartHeight - height(l.of(p), top))
			drawn = append(drawn, number(float64(i)*width+width/4)+","+y, number(float64(i)*width+width*3/4)+","+y)
		}
		end()
	}
	return c
}

// nice is a number of one or two digits and zeros, and at least n: the end of a
// scale.
func nice(n int64) int64 {
	unit := int64(1)
	for unit <= n/10 {
		unit *= 10
	}
	for _, m := range []int64{1, 2, 4, 5, 6, 8, 10} {
		if m*unit >= n && n > 0 {
			return m * unit
		}
	}
	return 1
}

func half(n int64) string {
	if n%2 == 1 {
		return ""
	}
	return fmt.Sprint(n / 2)
}

func height(n, top int64) float64 { return chartHeight * float64(n) / float64(top) }

func number(f float64) string { return strings.TrimSuffix(fmt.Sprintf("%.1f", f), ".0") }

func micros(n int64) string { return took(time.Duration(n) * time.Microsecond) }

// each is a step in words.
func each(step time.Duration) string {
	if step < time.Hour {
		return strings.Replace(fmt.Sprintf("%d minutes", step/time.Minute), "1 minutes", "a minute", 1)
	}
	return fmt.Sprintf("%d hours", step/time.Hour)
}

// times stand below a chart.
func times(s span, points []api.RequestPoint) (t [3]string) {
	if len(points) == 0 {
		return t
	}
	for i, at := range []time.Time{points[0].Time, points[len(points)/2].Time, points[len(points)-1].Time.Add(s.step)} {
		t[i] = at.UTC().Format(s.layout)
	}
	return t
}
