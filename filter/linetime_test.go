package filter

import (
	"bytes"
	"testing"
	"time"
)

func TestLineTime(t *testing.T) {
	now := time.Date(2026, 3, 5, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct{ line, want string }{
		{"Mar  4 09:15:22 host sshd[811]: Failed password", "2026-03-04T09:15:22Z"},
		{"Dec 10 06:55:46 LabSZ sshd[24200]: x", "2025-12-10T06:55:46Z"}, // lies ahead of now: last year's
		{"<34>1 2026-03-04T09:15:22.481Z host su - ID47 - x", "2026-03-04T09:15:22.481Z"},
		{"2026-03-04T09:15:22+02:00 host x", "2026-03-04T07:15:22Z"},
		{"2015-10-18 18:01:47,978 INFO [main] x", "2015-10-18T18:01:47.978Z"},
		{"2023/02/21 08:05:56.233208 [error] x", "2023-02-21T08:05:56.233208Z"},
		{`127.0.0.1 - - [14/Oct/2022:09:55:53 +0200] "PUT /"`, "2022-10-14T07:55:53Z"},
		{"26-Jan-2024 06:43:57.223 queries: info", "2024-01-26T06:43:57.223Z"},
		{"1521911720.865716\tCqKst53mF3det3eDV9\t10.47.1.100", "2018-03-24T17:15:20.865716Z"},
		{`{"a":1,"@timestamp":"2017-09-30T11:00:00Z","message":"Mar  4 09:15:22"}`, "2017-09-30T11:00:00Z"},
		{`{"ts":1521911720.5,"uid":"x"}`, "2018-03-24T17:15:20.5Z"},
		{"no time at all", ""},
		{"", ""},
		{"12:00:00 only a clock", ""},
		{"build 20260304 done", ""},
	} {
		got, ok := LineTime([]byte(c.line), now, nil)
		if c.want == "" {
			if ok {
				t.Errorf("%q states no time, and got %v", c.line, got)
			}
			continue
		}
		if !ok || got.UTC().Format(time.RFC3339Nano) != c.want {
			t.Errorf("%q: got %v, %v, want %s", c.line, got, ok, c.want)
		}
	}
}

// Lines of the same minute are read as any others are.
func TestLineClock(t *testing.T) {
	now := time.Date(2026, 3, 5, 12, 0, 0, 0, time.UTC)
	var clock lineClock
	for _, line := range []string{
		`h - - [14/Oct/2022:09:55:53 +0200] "GET /"`, `h - - [14/Oct/2022:09:55:59 +0200] "GET /"`, `h - - [14/Oct/2022:09:55:60 +0200] "GET /"`,
		`h - - [14/Oct/2022:09:55:00 +0100] "GET /"`, `h - - [14/Oct/2022:09:56:00 +0100] "GET /"`, "no time at all",
		"Mar  4 09:15:22 h x", "Mar  4 09:15:07 h x", "Dec  4 09:15:22 h x", "Dec  4 09:15:23 h x",
		"2026-03-04T09:15:22.481Z h", "2026-03-04T09:15:23.481Z h", "2026-03-04T09:15:23.482Z h", "2026-03-04T09:15:23 h",
		"2026-03-04T09:15:24,5 h", "2026-03-04T09:15:25 h", "2026-03-04 09:15:25 h", "2026-03-04T09:15:2x h", "",
	} {
		clock.read = false
		got, stated := clock.at([]byte(line), now, nil)
		want, ok := LineTime([]byte(line), now, nil)
		if !ok {
			want = now
		}
		if stated != ok || !got.Equal(want) {
			t.Errorf("%q: got %v, %v, want %v, %v", line, got, stated, want, ok)
		}
	}
}

func FuzzLineTime(f *testing.F) {
	f.Add([]byte("Mar  4 09:15:22 host")) // no year
	f.Add([]byte(`{"@timestamp":"`))      // the value is cut off
	f.Fuzz(func(t *testing.T, line []byte) {
		now := time.Unix(1e9, 0)
		got, ok := LineTime(line, now, nil)
		if ok && got.IsZero() {
			t.Errorf("the zero time for %q", line)
		}
		var last minute
		lineTime(bytes.ReplaceAll(line, []byte("1"), []byte("2")), now, nil, &last) // perhaps of the same minute
		if again, stated := lineTime(line, now, nil, &last); stated != ok || !again.Equal(got) {
			t.Errorf("%q: got %v, %v behind another line, %v, %v alone", line, again, stated, got, ok)
		}
	})
}

func BenchmarkLineTime(b *testing.B) {
	line := []byte("Mar  4 09:15:22 host sshd[811]: Failed password for root from 203.0.113.7 port 51822")
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		LineTime(line, now, nil)
	}
}
