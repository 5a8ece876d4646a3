package annotate

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"iocpipe/extract"
	"iocpipe/intel"
)

// TestNewestFirst holds the bounded sort against sorting everything.
func TestNewestFirst(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for range 300 {
		a := New()
		a.MaxRelated = 1 + random.IntN(12)
		var all []intel.Resolution
		for i := range random.IntN(60) {
			all = append(all, intel.Resolution{Value: fmt.Sprint("h", i, ".example"), Last: day(1, random.IntN(20))})
		}
		l := relatedList{resolutions: slices.Clone(all)}
		got := a.newestFirst(&l)
		sortNewest(all)
		if want := all[:min(len(all), a.MaxRelated)]; !slices.Equal(got, want) {
			t.Fatalf("%d of %d: got %v, want %v", a.MaxRelated, len(all), got, want)
		}
	}
}

func TestRelatedLists(t *testing.T) {
	f := func(value string, r intel.Report, verdict intel.Verdict, want string) {
		t.Helper()
		a, finding := New(), intel.Finding{Verdict: verdict, Report: &r}
		a.MaxRelated = 2
		lists := relatedTo(&finding, value)
		if got := string(a.appendRelated(nil, &finding, &lists)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	names := []intel.Resolution{{Value: "a.example"}, {Value: "192.0.2.1"}, {Value: "b.example", Last: day(1, 1)}}
	f("x", intel.Report{Resolutions: names}, intel.Malicious,
		`"ip":["192.0.2.1"],"ip_total":1,"hosts":["b.example","a.example"],"hosts_total":2,`)
	f("a.example", intel.Report{Resolutions: names}, intel.Related,
		`"ip":["192.0.2.1"],"ip_total":1,"hosts":["b.example"],"hosts_total":1,`)
	f("x", intel.Report{Resolutions: names}, intel.Undecided, `"ip_total":1,"hosts_total":2,`)
	f("x", intel.Report{Resolutions: names[:1], Subdomains: []string{"a.example", "", "c.example"}}, intel.Malicious,
		`"hosts":["a.example","c.example"],"hosts_total":3,`)
	f("x", intel.Report{IPs: []string{"2001:db8::1", "2001:db8::zz", "192.0.2.7"}}, intel.Malicious,
		`"ip":["2001:db8::1","192.0.2.7"],"ip_total":3,`)
	f("x", intel.Report{Emails: []string{"a@b.example"}, SHA1: "h"}, intel.Malicious,
		`"hash":["h"],"hash_total":1,"email":["a@b.example"],"email_total":1,`)
	f("x", intel.Report{}, intel.Malicious, ``)
}

func TestFindingWithoutReport(t *testing.T) {
	event := []byte(`{"a":"192.0.2.9"}`)
	hit := Hit{
		extract.Match{Key: key(extract.IP, "192.0.2.9"), Start: 6, End: 15, Field: "a"},
		intel.Finding{Verdict: intel.Related, Origin: intel.FromLocal, Source: "feodo", Relation: intel.ByURL,
			Via: key(extract.Domain, "evil.example")},
	}
	out, _ := atNoon().AppendJSON(nil, event, []Hit{hit})
	if err := VerifyLine(event, out); err != nil {
		t.Error(err)
	}
	golden(t, "noreport.golden", append(out, '\n'))
}
