package format

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

var errBadDate = errors.New("bad date")

const day = 24 * time.Hour

// layouts are the ways in which feeds write times: days, and times behind a day with a T and with a blank.
var layouts = map[byte][]string{
	0:   {"2006-01-02", "2006/01/02"},
	'T': {time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04:05-0700", "2006-01-02T15:04"},
	' ': {"2006-01-02 15:04:05", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05 -0700", "2006-01-02 15:04"},
}

// layoutsOf returns the layouts that may fit s. To try one costs memory when it does not.
func layoutsOf(s string) []string {
	const day = len("2006-01-02")
	switch {
	case len(s) > day:
		return layouts[s[day]]
	case len(s) == day && !isNumber(s):
		return layouts[0]
	}
	return nil
}

// parseTime reads a time as feeds write it: with a blank or a T, with or without zone (then it is UTC) and fraction, a
// day, or seconds or milliseconds of Unix time. No text is the zero time, and so are 0 and days of zeros.
func parseTime(s string) (time.Time, error) {
	s = strings.TrimSuffix(strings.TrimSuffix(field(s), "UTC"), " ")
	if s == "" || s == "0" || strings.HasPrefix(s, "0000-00-00") {
		return time.Time{}, nil
	}
	for _, layout := range layoutsOf(s) {
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

// valid returns t, to the second, when it can be written in four digits of a year. The first moment of Unix time is an
// unset field.
func valid(t time.Time) (time.Time, error) {
	switch t = t.UTC().Truncate(time.Second); {
	case t.Unix() == 0:
		return time.Time{}, nil
	case t.Unix() < 0 || t.Year() > 9999:
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
