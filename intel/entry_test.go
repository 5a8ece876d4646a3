package intel

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"iocpipe/extract"
)

func TestStatementRoundTrip(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 30, 5, 0, time.UTC)
	for _, want := range []Statement{
		{},
		{Report: Report{Known: true, Voted: true, Votes: -1}},
		{
			Report: Report{
				Known: true, Voted: true, Votes: 1, MD5: "d00f9e70a3e0ff21436afd012821b847",
				Resolutions: []Resolution{{"198.51.100.1", time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)}},
				Domains:     []string{"other.test"}, IPs: []string{"198.51.100.9"}, Scans: []string{"Trojan.Agent"},
				References: []string{"https://reports.test/1"}, Permalink: "https://list.test/1?a=b",
				Tags: []string{"Emotet", "c2 \"x\""}, First: at, Last: at.Add(time.Hour),
			},
			Expires: at.AddDate(0, 1, 0), By: "ann", Added: at, Note: "CASE-42\tagain",
		},
	} {
		got, err := ParseStatement(AppendStatement(nil, &want))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestParseEntryLine(t *testing.T) {
	got, err := ParseEntryLine([]byte(`{"value":"Evil.test","response_code":1,"votes":"-1","tags":["x","x",""],
		"first_seen":"2026-01-02","last_seen":"2026-01-03T04:05:06+01:00","expires":"2026-12-31","note":"CASE-42"}`))
	if err != nil {
		t.Fatal(err)
	}
	want := Entry{
		Subject: Subject{Key: extract.Key{Type: extract.Domain, Value: "evil.test"}},
		Statement: &Statement{
			Report: Report{
				Known: true, Voted: true, Votes: -1, Tags: []string{"x"},
				First: time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC), Last: time.Date(2026, 1, 3, 3, 5, 6, 0, time.UTC),
			},
			Expires: time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC), Note: "CASE-42",
		},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b Subject) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	for _, line := range []string{"", "{}", `{"value":"evil.test"}`, `{"value":"evil.test","response_code":1,"expires":"soon"}`} {
		if _, err := ParseEntryLine([]byte(line)); err == nil {
			t.Errorf("%q: no error", line)
		}
	}
}

func TestEntryLineRoundTrip(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 30, 5, 0, time.UTC)
	said := &Statement{
		Source: "feed, \"x\"", Expires: at.AddDate(0, 1, 0), By: "ann", Added: at, Note: "CASE-42\nagain",
		Report: Report{
			Known: true, Voted: true, Votes: -1, References: []string{"https://reports.test/1"}, Tags: []string{"a,b"},
			First: at, Last: at.Add(time.Hour), Permalink: "https://list.test/1?a=b", Emails: []string{"a@evil.test"},
		},
	}
	evil := extract.Key{Type: extract.Domain, Value: "evil.test"}
	for want, line := range map[Subject]string{
		{Key: evil}:              `{"type":"domain","value":"evil.test",`,
		{Key: evil, Below: true}: `{"type":"domain","value":"*.evil.test",`,
		{Key: evil, URL: "http://evil.test:81/a?b#c"}:                                   `{"type":"domain","value":"http://evil.test:81/a?b#c",`,
		{Key: evil, URL: "evil.test/a"}:                                                 `{"type":"domain","value":"evil.test/a",`,
		{Key: evil, Via: extract.Key{Value: "Campaign"}, Relation: ByReference}:         `{"type":"domain","value":"evil.test",`,
		{Key: evil, Via: extract.Key{Type: extract.IP, Value: "::1"}, Relation: ByHash}: `{"type":"domain","value":"evil.test",`,
		{Net: netip.MustParsePrefix("198.51.100.0/24")}:                                 `{"type":"ip","value":"198.51.100.0/24",`,
		{Net: netip.MustParsePrefix("2001:db8::/32")}:                                   `{"type":"ip","value":"2001:db8::/32",`,
		{Key: extract.Key{Type: extract.Antivirus, Value: "*.x/y://z"}}:                 `{"type":"antivirus","value":"*.x/y://z",`,
		{Key: extract.Key{Type: extract.IP, Value: "2001:db8::1"}, URL: "http://[2001:db8::1]/"}: `{"type":"ip",` +
			`"value":"http://[2001:db8::1]/",`,
	} {
		got := AppendEntry(nil, &Entry{want, said})
		if !strings.HasPrefix(string(got), line) {
			t.Errorf("%+v is written as %s", want, got)
		}
		e, err := ParseEntryLine(got)
		if err != nil {
			t.Fatalf("%s: %v", got, err)
		}
		if e.Subject != want {
			t.Errorf("%s: got %+v, want %+v", got, e.Subject, want)
		}
		if diff := cmp.Diff(said, e.Statement); diff != "" {
			t.Errorf("%s: %s", got, diff)
		}
	}
	for _, line := range []string{
		`{"type":"domain","value":"*.","response_code":1}`, `{"value":"http:///x","response_code":1}`,
		`{"value":"http://a@b@c/","host":"a@b.test","response_code":1}`,
		`{"value":"evil.test","via":"x","relation":"hash","via_type":"y","response_code":1}`,
	} {
		if e, err := ParseEntryLine([]byte(line)); err == nil {
			t.Errorf("%s: got %+v, want an error", line, e.Subject)
		}
	}
}

// What is read of a line of a list is written so that it is read again.
func FuzzParseEntryLine(f *testing.F) {
	f.Add([]byte(`{"value":"Evil.test","response_code":1,"votes":"-1","tags":["x"],"expires":"2026-12-31","note":"CASE-42"}`))
	f.Add([]byte(`{"value":"*.evil.test","response_code":1,"via":"198.51.100.1","via_type":"ip","relation":"resolution"}`))
	f.Add([]byte(`{"value":"198.51.100.7/24","response_code":1,"first_seen":"2026-01-02","source":"a"}`))
	f.Add([]byte(`{"type":"domain","value":"evil.test/a?b","host":"evil.test","response_code":"1","references":["x"]}`))
	f.Add([]byte(`{"type":"antivirus","value":"*.A/b","response_code":1,"hashes":["d00f9e70a3e0ff21436afd012821b847"]}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := ParseEntryLine(line)
		if err != nil {
			return
		}
		if !e.Report.Known {
			e.Report = Report{} // a report line of what is not known says no more
		}
		again := AppendEntry(nil, &e)
		got, err := ParseEntryLine(again)
		if err != nil {
			t.Fatalf("%s: %v", again, err)
		}
		if got.Subject != e.Subject {
			t.Errorf("%s: got %+v, want %+v", again, got.Subject, e.Subject)
		}
		if diff := cmp.Diff(e.Statement, got.Statement); diff != "" {
			t.Errorf("%s: %s", again, diff)
		}
	})
}

func TestExpired(t *testing.T) {
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		expires time.Time
		want    bool
	}{{time.Time{}, false}, {now.Add(1), false}, {now, true}, {now.Add(-1), true}} {
		if got := (&Statement{Expires: tt.expires}).Expired(now); got != tt.want {
			t.Errorf("%v: got %v", tt.expires, got)
		}
	}
}
