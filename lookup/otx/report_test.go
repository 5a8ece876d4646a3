package otx

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"iocpipe/extract"
	"iocpipe/intel"
)

func addr(value string) extract.Key { return extract.Key{Type: extract.IP, Value: value} }

func TestRecordedAnswers(t *testing.T) {
	for _, tt := range []struct {
		file string
		key  extract.Key
		want intel.Report
	}{
		{"ipv4-general-validation", addr("52.19.0.7"), intel.Report{
			Known: true, Permalink: "https://otx.alienvault.com/indicator/ip/52.19.0.7",
			Tags: []string{"AWS IP range", "Suspicious IP format / Possible version number"},
		}},
		{"ipv4-general-whitelisted", addr("1.1.1.1"), intel.Report{
			Known: true, Votes: 1, Voted: true, Permalink: "https://otx.alienvault.com/indicator/ip/1.1.1.1",
			Tags: []string{"Known False Positive", "Whitelisted IP"},
		}},
		{"ipv4-general-derived-pulses", addr("203.0.113.7"), intel.Report{ // of two pulses one is too big to count
			Known: true, Votes: 0, Voted: true, Permalink: "https://otx.alienvault.com/indicator/ip/203.0.113.7",
			Tags:       []string{"Example"},
			References: []string{"https://otx.alienvault.com/pulse/000000000000000000000001", "https://example.org/report"},
			First:      time.Date(2024, 5, 1, 10, 0, 0, 0, time.UTC),
			Last:       time.Date(2024, 5, 2, 10, 0, 0, 0, time.UTC),
		}},
	} {
		body, err := os.ReadFile("testdata/" + tt.file + ".json")
		if err != nil {
			t.Fatal(err)
		}
		got, err := parse(body, tt.key, DefaultThreshold)
		if err != nil {
			t.Errorf("%s: %v", tt.file, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.file, diff)
		}
	}
}

// made returns an answer about address with pulses of so many indicators each, by author, and other members.
func made(author string, sizes []int, others string) string {
	var pulses []string
	for i, size := range sizes {
		pulses = append(pulses, fmt.Sprintf(`{"id":"%024x","author":{"username":%q},"indicator_count":%d}`, i, author, size))
	}
	return fmt.Sprintf(`{"indicator":"203.0.113.7","pulse_info":{"count":%d,"pulses":[%s]}%s}`, len(sizes), strings.Join(pulses, ","), others)
}

func TestVerdicts(t *testing.T) {
	const (
		aws       = `,"validation":[{"source":"aws","message":"In IP range","name":"AWS IP range"}]`
		whitelist = `,"validation":[{"source":"aws"},{"source":"whitelist","name":"Whitelisted IP"}]`
		majestic  = `,"validation":[{"source":"majestic","name":"Whitelisted domain"}]`
		accepted  = `,"false_positive":[{"assessment":"pending"},{"assessment":"accepted"}]`
		pending   = `,"false_positive":[{"assessment":"pending"}]`
	)
	for _, tt := range []struct {
		name      string
		body      string
		threshold int
		want      intel.Verdict
	}{
		{"nobody", made("x", nil, `,"validation":[],"false_positive":[]`), 2, intel.NoVerdict},
		{"nobody, an older answer", made("x", nil, ``), 2, intel.NoVerdict},
		{"nobody, null lists", made("x", nil, `,"validation":null,"false_positive":null`), 2, intel.NoVerdict},
		{"nobody, Amazon's", made("x", nil, aws), 2, intel.Unknown},
		{"nobody, much visited", made("x", nil, majestic), 2, intel.Unknown},
		{"nobody, disputed", made("x", nil, pending), 2, intel.Unknown},
		{"nobody, whitelisted", made("x", nil, whitelist), 2, intel.Benign},
		{"one pulse", made("x", []int{12}, ``), 2, intel.Undecided},
		{"two pulses", made("x", []int{12, 10_000}, ``), 2, intel.Malicious},
		{"two pulses, disputed", made("x", []int{12, 12}, pending), 2, intel.Malicious},
		{"two pulses, accepted as false", made("x", []int{12, 12}, accepted), 2, intel.Benign},
		{"two pulses, whitelisted", made("x", []int{12, 12}, whitelist), 2, intel.Benign},
		{"two pulses, Amazon's", made("x", []int{12, 12}, aws), 2, intel.Undecided},
		{"two pulses, one a dump", made("x", []int{12, 10_001}, ``), 2, intel.Undecided},
		{"dumps alone", made("x", []int{334_995, 20_000, 20_000}, ``), 1, intel.Undecided},
		{"one pulse is enough", made("x", []int{12}, ``), 1, intel.Malicious},
		{"two pulses of three", made("x", []int{12, 12}, ``), 3, intel.Undecided},
		{"AlienVault", made("AlienVault", []int{12}, ``), 2, intel.Malicious},
		{"AlienVault, Amazon's", made("AlienVault", []int{12}, aws), 2, intel.Malicious},
		{"AlienVault, accepted as false", made("AlienVault", []int{12}, accepted), 2, intel.Benign},
		{"AlienVault, a dump", made("AlienVault", []int{20_000}, ``), 2, intel.Undecided},
		{"somebody like AlienVault", made("alienvault ", []int{12}, ``), 2, intel.Undecided},
		{"counted, not listed", `{"indicator":"203.0.113.7","pulse_info":{"count":50}}`, 2, intel.Undecided},
		{"one pulse, told twice", strings.Replace(made("x", []int{1, 1}, ``), `"000000000000000000000001"`, `"000000000000000000000000"`, 1), 2, intel.Undecided},
	} {
		r, err := parse([]byte(tt.body), address, tt.threshold)
		if err != nil || r.Verdict() != tt.want {
			t.Errorf("%s: %v, %v, want %v", tt.name, r.Verdict(), err, tt.want)
		}
	}
}

// TestConfidentialPulses tests that they count, and that nothing they say is passed on.
func TestConfidentialPulses(t *testing.T) {
	for tlp, open := range map[string]bool{
		"white": true, "green": true, "clear": true, "": true,
		"red": false, "RED": false, "amber": false, "Amber+Strict": false, "TLP:RED": false,
	} {
		body := `{"indicator":"203.0.113.7","pulse_info":{"count":2,"pulses":[
			{"id":"000000000000000000000001","TLP":"` + tlp + `","name":"hush","adversary":"hush bear","malware_families":["hush kit",{"display_name":"hush rat"}],
			 "references":["https://hush.example/"],"created":"2024-01-01T00:00:00","modified":"2024-01-02T00:00:00","tags":["hush"]},
			{"id":"000000000000000000000002"}],
			"references":["https://hush.example/"],"related":{"other":{"adversary":["hush bear"],"malware_families":["hush kit"]}}}}`
		r, err := parse([]byte(body), address, 2)
		if err != nil || r.Verdict() != intel.Malicious {
			t.Errorf("%s: %v, %v", tlp, r.Verdict(), err)
		}
		line := intel.AppendReport(nil, address, &r)
		told := bytes.Contains(line, []byte("hush")) && bytes.Contains(line, []byte("0001")) && !r.First.IsZero()
		hidden := !bytes.Contains(line, []byte("hush")) && !bytes.Contains(line, []byte("0001")) && r.First.IsZero() && r.Last.IsZero()
		if open && !told || !open && !hidden {
			t.Errorf("TLP %q became %s", tlp, line)
		}
	}
}

func TestLists(t *testing.T) {
	body := `{"indicator":"203.0.113.7","pulse_info":{"count":1,"pulses":[{"id":"x","tlp":"green","adversary":" Bear ",
		"malware_families":["Kit",{"id":"R","display_name":"Rat"},null,7,["x"],{"display_name":null},"-"," Kit",""],
		"references":["https://r.example/1","` + strings.Repeat("x", maxText+1) + `","https://r.example/1"],
		"created":"1970-01-01T00:00:00","modified":"2024-06-02T10:00:00.999999"}]}}`
	r, err := parse([]byte(body), address, 2)
	want := intel.Report{
		Known: true, Voted: true, Permalink: "https://otx.alienvault.com/indicator/ip/203.0.113.7",
		Tags: []string{"Kit", "Rat", "Bear"}, References: []string{"https://r.example/1"},
		Last: time.Date(2024, 6, 2, 10, 0, 0, 0, time.UTC),
	}
	if diff := cmp.Diff(want, r); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	var families []string
	for i := range 2 * maxTags {
		families = append(families, fmt.Sprintf(`"f%d"`, i))
	}
	body = `{"indicator":"203.0.113.7","pulse_info":{"count":1,"pulses":[{"id":"x","malware_families":[` + strings.Join(families, ",") + `]}]}}`
	if r, err := parse([]byte(body), address, 2); err != nil || len(r.Tags) != maxTags {
		t.Errorf("%d tags, %v", len(r.Tags), err)
	}
}

func TestPermalinks(t *testing.T) {
	for key, want := range map[extract.Key]string{
		addr("2001:db8::1"):                           "ip/2001:db8::1",
		{Type: extract.Domain, Value: "bad.com"}:      "domain/bad.com",
		{Type: extract.Domain, Value: "a.bad.com"}:    "hostname/a.bad.com",
		{Type: extract.SHA256, Value: "ab"}:           "file/ab",
		{Type: extract.Domain, Value: "a\u202eb.com"}: "domain/a%E2%80%AEb.com",
	} {
		if got := permalink(key); got != "https://otx.alienvault.com/indicator/"+want {
			t.Errorf("%v: %s, want %s", key, got, want)
		}
	}
}

func TestAboutWhatWasAsked(t *testing.T) {
	for _, tt := range []struct {
		key       extract.Key
		indicator string
		ok        bool
	}{
		{address, "203.0.113.7", true},
		{address, "203.0.113.8", false},
		{address, "", false},
		{addr("2001:db8::1"), "2001:0DB8:0:0:0:0:0:1", true},
		{extract.Key{Type: extract.Domain, Value: "bad.com"}, "BAD.com", true},
		{extract.Key{Type: extract.Domain, Value: "www.bad.com"}, "bad.com", false},
		{extract.Key{Type: extract.MD5, Value: "44d88612fea8a8f36de82e1278abb02f"}, "44D88612FEA8A8F36DE82E1278ABB02F", true},
		{extract.Key{Type: extract.MD5, Value: "44d88612fea8a8f36de82e1278abb02f"}, "3395856ce81f2b7382dee72602f798b642f14140", false},
	} {
		_, err := parse([]byte(`{"indicator":"`+tt.indicator+`","pulse_info":{"count":1}}`), tt.key, 2)
		if (err == nil) != tt.ok {
			t.Errorf("%v answered by %q: %v, want ok %v", tt.key, tt.indicator, err, tt.ok)
		}
	}
}

func TestNoAnswers(t *testing.T) {
	for _, body := range []string{
		"", " ", "null", "[]", "7", `"203.0.113.7"`, "{}", "<html>203.0.113.7</html>", `{"detail":"203.0.113.7: slow down"}`,
		`{"indicator":"203.0.113.7"}`,
		`{"indicator":7,"pulse_info":{"count":1}}`,
		`{"indicator":"203.0.113.7","pulse_info":null}`,
		`{"indicator":"203.0.113.7","pulse_info":{}}`,
		`{"indicator":"203.0.113.7","pulse_info":{"count":-1}}`,
		`{"indicator":"203.0.113.7","pulse_info":{"count":"many"}}`,
		`{"indicator":"203.0.113.7","pulse_info":{"count":2,"pulses":[null,null]}}`,
		`{"indicator":"203.0.113.7","pulse_info":{"count":2,"pulses":[{},{}]}}`,
		`{"indicator":"203.0.113.7","pulse_info":{"count":2,"pulses":{"a":1}}}`,
		`{"indicator":"203.0.113.7","pulse_info":{"count":1},"validation":"203.0.113.7"}`,
		`{"indicator":"203.0.113.7","pulse_info":{"count":1,"pulses":[` + strings.Repeat("{},", maxPulses) + `{}]}}`,
		two + two, two + "x", two[:len(two)-1],
	} {
		r, err := parse([]byte(body), address, 2)
		if err == nil || strings.Contains(err.Error(), address.Value) {
			t.Errorf("%.80q: error %v, want one that keeps the question to itself", body, err)
		}
		if diff := cmp.Diff(intel.Report{}, r); diff != "" {
			t.Errorf("%.80q: a report beside the error:\n%s", body, diff)
		}
	}
	for _, body := range []string{"\ufeff" + two, "\r\n\t" + two + "\n"} {
		if r, err := parse([]byte(body), address, 2); err != nil || r.Verdict() != intel.Malicious {
			t.Errorf("%.10q: %v, %v", body, r.Verdict(), err)
		}
	}
}

// FuzzParse tests that any bytes are an error or a report that keeps its bounds and comes back from a cache as it was.
func FuzzParse(f *testing.F) {
	for _, file := range []string{"validation", "whitelisted", "derived-pulses"} {
		body, err := os.ReadFile("testdata/ipv4-general-" + file + ".json")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body, 2)
	}
	f.Add([]byte(two), 1)
	f.Add([]byte(made("AlienVault", []int{1}, `,"validation":[{"source":"aws","name":"\u0000\n"}]`)), 2)
	f.Fuzz(func(t *testing.T, body []byte, threshold int) {
		for _, key := range []extract.Key{address, addr("52.19.0.7"), addr("1.1.1.1")} {
			r, err := parse(body, key, threshold)
			if err != nil || !r.Known {
				if diff := cmp.Diff(intel.Report{}, r); diff != "" {
					t.Fatalf("%v, and a report:\n%s", err, diff)
				}
				continue
			}
			if len(r.Tags) > maxTags || len(r.References) > maxReferences ||
				slices.ContainsFunc(append(r.Tags, r.References...), func(s string) bool { return len(s) > maxText }) {
				t.Fatalf("out of bounds: %d tags, %d references", len(r.Tags), len(r.References))
			}
			again, kept, err := intel.ParseReportLine(intel.AppendReport(nil, key, &r))
			if diff := cmp.Diff(r, kept); err != nil || again != key || diff != "" {
				t.Fatalf("%v, %v comes back otherwise (-was +is):\n%s", again, err, diff)
			}
		}
	})
}
