package intel

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"iocpipe/extract"
)

func TestVerdict(t *testing.T) {
	for _, tt := range []struct {
		report Report
		want   Verdict
	}{
		{Report{}, NoVerdict},
		{Report{Voted: true, Votes: -1}, NoVerdict}, // votes of a report that is not there
		{Report{Known: true}, Unknown},
		{Report{Known: true, Votes: -1}, Unknown}, // no votes were in the answer
		{Report{Known: true, Voted: true, Votes: -1}, Malicious},
		{Report{Known: true, Voted: true}, Undecided},
		{Report{Known: true, Voted: true, Votes: 1}, Benign},
	} {
		if got := tt.report.Verdict(); got != tt.want {
			t.Errorf("%+v: got %v, want %v", tt.report, got, tt.want)
		}
	}
}

// TestVerdictsAreOrdered holds the order that the joining of sources relies on.
func TestVerdictsAreOrdered(t *testing.T) {
	var names []string
	for v := NoVerdict; v <= Malicious; v++ {
		names = append(names, v.String())
	}
	if diff := cmp.Diff([]string{"none", "benign", "unknown", "undecided", "related", "malicious"}, names); diff != "" {
		t.Error(diff)
	}
}

func TestLastSeen(t *testing.T) {
	day := func(d int) time.Time { return time.Date(2026, 1, d, 0, 0, 0, 0, time.UTC) }
	for _, tt := range []struct {
		days []time.Time
		want time.Time
	}{
		{nil, time.Time{}},
		{[]time.Time{{}, {}}, time.Time{}},
		{[]time.Time{day(2), {}, day(9), day(4)}, day(9)},
	} {
		var r Report
		for _, d := range tt.days {
			r.Resolutions = append(r.Resolutions, Resolution{Value: "evil.test", Last: d})
		}
		if got := r.LastSeen(); !got.Equal(tt.want) {
			t.Errorf("%v: got %v, want %v", tt.days, got, tt.want)
		}
	}
}

func TestRelations(t *testing.T) {
	last := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	report := Report{
		Known: true,
		Resolutions: []Resolution{{"198.51.100.1", last}, {"::ffff:198.51.100.2", time.Time{}},
			{"not an indicator", last}},
		Subdomains: []string{"WWW.evil.test", ""},
		Domains:    []string{"other.test"},
		IPs:        []string{"2001:DB8::1"},
		Hashes:     []string{"d00f9e70a3e0ff21436afd012821b847"},
		MD5:        "782d3100a3de5008d75b02de447bcfac",
		Emails:     []string{"Joe@mail.test"},
		Scans:      []string{"Trojan.Agent"}, // a family, not a thing that was met
		References: []string{"https://reports.test/1"},
	}
	want := []Relation{
		{extract.Key{Type: extract.IP, Value: "198.51.100.1"}, ByResolution, last},
		{extract.Key{Type: extract.IP, Value: "198.51.100.2"}, ByResolution, time.Time{}},
		{extract.Key{Type: extract.Domain, Value: "www.evil.test"}, BySubdomain, time.Time{}},
		{extract.Key{Type: extract.Domain, Value: "other.test"}, ByDomain, time.Time{}},
		{extract.Key{Type: extract.IP, Value: "2001:db8::1"}, ByResolution, time.Time{}},
		{extract.Key{Type: extract.MD5, Value: "d00f9e70a3e0ff21436afd012821b847"}, ByHash, time.Time{}},
		{extract.Key{Type: extract.MD5, Value: "782d3100a3de5008d75b02de447bcfac"}, ByHash, time.Time{}},
		{extract.Key{Type: extract.Email, Value: "joe@mail.test"}, ByEmail, time.Time{}},
	}
	var got []Relation
	for r := range report.Relations() {
		got = append(got, r)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for n := range want { // whoever stops early gets no more
		count := 0
		for range report.Relations() {
			if count++; count > n {
				break
			}
		}
		if count != n+1 {
			t.Errorf("stopped at %d, got %d", n+1, count)
		}
	}
}
