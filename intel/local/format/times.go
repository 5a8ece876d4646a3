package format

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

var errBadDate = errors.New("bad date")

const day = 24 * time.Hour

// layouts are the ways in which feeds write times.
var layouts = []string{
	"2006-01-02 15:04:05", time.RFC3339, "2006-01-02", "2006-01-02T15:04:05", "2006-01-02 15:04",
	"2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05 -0700", "2006-01-02T15:04:05-0700", "2006/01/02",
}

// parseTime reads a time as feeds write it: with a blank or a T, with or without zone (then it is UTC) and fraction, a
// day, or seconds or milliseconds of Unix time. No text is the zero time, and so are 0 and days of zeros.
func parseTime(s string) (time.Time, error) {
	s = strings.TrimSuffix(strings.TrimSuffix(field(s), "UTC"), " ")
	if s == "" || s == "0" || strings.HasPrefix(s, "0000-00-00") {
		return time.Time{}, nil
	}
	for _, layout := range layouts {
		if t, err := time.Parse(layout, s); err == nil {
			return valid(t)
		}
	}
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || !(n > 0 && n < 1e14) {
		return time.Time{}, errBadDate
	}
	if n >= 1e11 { // seconds of the year 5138
		n /= 1000
	}
	return valid(time.Unix(int64(n), 0))
}

// valid returns t, to the second, when it can be written in four digits of a year.
func valid(t time.Time) (time.Time, error) {
	if t = t.UTC().Truncate(time.Second); t.Year() < 1970 || t.Year() > 9999 {
		return time.Time{}, errBadDate
	}
	return t, nil
}

// latest returns the last of times.
func latest(times ...time.Time) (last time.Time) {
	for _, t := range times {
		if t.After(last) {
			last = t
		}
	}
	return last
}

// expiry returns when what was last confirmed at the latest of times stops to hold; times without any count from now.
func (l *list) expiry(after time.Duration, times ...time.Time) time.Time {
	last := latest(times...)
	if last.IsZero() {
		last = l.Now.UTC().Truncate(time.Second)
	}
	return last.Add(after)
}
