package vault

import (
	"context"
	"time"
)

// Bounds of a series.
const (
	maxPoints = 400
	maxSeries = 1_000_000                 // requests that are looked at, which takes about half a second
	usualSpan = time.Hour                 // when nobody says since when
	maxSpan   = 10 * 366 * 24 * time.Hour // from the first to the last
)

// RequestSeries counts the requests that began between the filter's Since and
// Until, at so many points: up to now, and of the last hour, when they are zero.
func (r *Registry) RequestSeries(ctx context.Context, c Caller, f RequestFilter, points int) (RequestSeries, error) {
	if err := r.allow(c, actSeeRecord, nil); err != nil {
		return RequestSeries{}, err
	}
	if f.Until.IsZero() {
		f.Until = r.now()
	}
	if f.Since.IsZero() {
		f.Since = f.Until.Add(-usualSpan)
	}
	q, err := f.query()
	switch {
	case err != nil:
		return RequestSeries{}, err
	case points < 1 || points > maxPoints:
		return RequestSeries{}, badRequest("points: it is from 1 to %d", maxPoints)
	case f.Until.UnixMilli()-f.Since.UnixMilli() < int64(points) || f.Until.Sub(f.Since) > maxSpan:
		return RequestSeries{}, badRequest("since and until: they are a millisecond a point apart, at least, and ten years at most")
	}
	q.Limit = maxSeries
	var s RequestSeries
	err = r.readRecord(ctx, c, actSeeRecord, func(tx Tx) error {
		if err := r.within(tx, c, f.Vault, &q); err != nil {
			return err
		}
		s, err = tx.RequestSeries(q, points, refusalCodes)
		return err
	})
	if err != nil {
		return RequestSeries{}, err
	}
	return s, nil
}
