package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"iocpipe/lookup/lookuptest"
)

// heldBack is a source whose answers come when release is closed.
func heldBack(t *testing.T, reply http.Handler) (source *lookuptest.Server, release func()) {
	gate := make(chan struct{})
	return lookuptest.NewServer(t, lookuptest.Stall(func() {}, gate, reply)), func() { close(gate) }
}

// A late answer is told in a record of its own, between whole lines, with the events that had passed.
func TestLateFollow(t *testing.T) {
	t.Parallel()
	source, release := heldBack(t, lookuptest.JSON(reportMalicious))
	p := start(t, "--intel", source.URL, "--state", "none", "--late", "follow", "--max-line", "80")
	value := address(1)
	first := "2026-03-04T09:15:22Z web-3 sshd: Failed password from " + value
	last := "2026-03-04T09:15:59Z web-4 sshd: Failed password from " + value
	p.say("%s", first)
	p.until("a question", func() bool { return len(source.Asked()) == 1 })
	p.say("nothing here\n%s", last)
	p.until("the lines", func() bool { return strings.Count(p.out.String(), "\n") == 3 })
	part := strings.Repeat("a line too long to be held ", 20_000)
	_, _ = p.in.Write([]byte(part))
	p.until("a part of the long line", func() bool { return len(p.out.String()) > len(part)/2 })
	release()
	_, _ = p.in.Write([]byte(part))
	p.until("more of it", func() bool { return len(p.out.String()) > len(part)*3/2 })
	p.say("and its end")
	p.until("the record", func() bool { return strings.Count(p.out.String(), "\n") == 5 })
	p.end(0)
	out := strings.Split(p.out.String(), "\n")
	if want := []string{first, "nothing here", last, part + part + "and its end"}; strings.Join(out[:4], "\n") != strings.Join(want, "\n") {
		t.Errorf("lines: %.300q", out)
	}
	var record struct {
		Timestamp time.Time `json:"@timestamp"`
		Event     struct{ Kind string }
		Threat    struct {
			Enrichments []struct {
				Indicator struct{ IP string }
				Matched   struct{ Atomic string }
			}
		}
		Iocpipe struct {
			Verdict string
			Late    struct {
				Events      int
				First, Last struct {
					Time time.Time
					Line int
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(out[4]), &record); err != nil {
		t.Fatalf("%v: %s", err, out[4])
	}
	late := record.Iocpipe.Late
	switch {
	case record.Event.Kind != "enrichment", record.Iocpipe.Verdict != "malicious", time.Since(record.Timestamp) > time.Minute,
		len(record.Threat.Enrichments) != 1, record.Threat.Enrichments[0].Indicator.IP != value,
		late.Events != 2, late.First.Line != 1, late.Last.Line != 3,
		!late.First.Time.Equal(time.Date(2026, 3, 4, 9, 15, 22, 0, time.UTC)),
		!late.Last.Time.Equal(time.Date(2026, 3, 4, 9, 15, 59, 0, time.UTC)):
		t.Errorf("record: %s", out[4])
	}
}

// What a slow source answers in time is waited for, and what it does not is not: in order, and never longer.
func TestWaitForSlowSource(t *testing.T) {
	t.Parallel()
	slow := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(200 * time.Millisecond)
		lookuptest.JSON(reportMalicious).ServeHTTP(w, r)
	})
	source := lookuptest.NewServer(t, lookuptest.ByValue(map[string]http.Handler{address(5): lookuptest.Stall(func() {}, nil, nil)}, slow))
	p := start(t, "--intel", source.URL, "--state", "none", "--on-miss", "wait", "--wait", "3s")
	p.say("alone")
	p.until("a line without indicators leaves at once", func() bool { return p.out.String() == "alone\n" })
	for i := range 10 {
		p.say("from %s", address(i))
	}
	p.until("the lines", func() bool { return strings.Count(p.out.String(), "\n") == 11 })
	p.end(0)
	for i, line := range strings.Split(p.out.String(), "\n")[1:11] {
		if !strings.HasPrefix(line, "from "+address(i)) || strings.Contains(line, "iocpipe=") != (i != 5) {
			t.Errorf("line %d: %s", i, line)
		}
	}
}

// A stalled source holds lines back up to --wait, and only as many as there is room for; then the oldest leave, in order,
// and are counted.
func TestWaitIsBounded(t *testing.T) {
	t.Parallel()
	source, _ := heldBack(t, nil)
	p := start(t, "--intel", source.URL, "--state", "none", "--on-miss", "wait", "--wait", "10m", "--stats")
	padding := strings.Repeat("x", 500_000)
	go func() {
		for i := range 200 {
			p.say("%03d from %s %s", i, address(i%40), padding)
		}
	}()
	p.until("the oldest leave", func() bool { return strings.Contains(p.out.String(), "\n010 from ") })
	if n := strings.Count(p.out.String(), "\n"); n > 200-waitBytes/600_000 {
		t.Errorf("%d lines have left, though there is room for more than %d of 200", n, waitBytes/600_000)
	}
	for i, line := range strings.Split(p.out.String(), "\n") {
		if number, err := strconv.Atoi(line[:min(3, len(line))]); line != "" && (err != nil || number != i) {
			t.Fatalf("line %d: %.40s", i, line)
		}
	}
	p.kill()
}

// At the end of input, --drain goes on asking for what was seen, and says how far it came.
func TestDrain(t *testing.T) {
	t.Parallel()
	source := maliciousOnly(t)
	stdout, stderr := iocpipe(t, 0, lines(0, 20), "--intel", source.URL, "--state", "none", "--rate", "100/s", "--burst", "2", "--drain", "20s")
	if len(source.Asked()) != 20 || stdout != lines(0, 20) || stderr != "iocpipe: 20 asked, 0 left\n" {
		t.Errorf("%d questions; stderr: %s", len(source.Asked()), stderr)
	}
	_, stderr = iocpipe(t, 0, lines(0, 20), "--intel", source.URL, "--state", "none", "--rate", "1/10s", "--burst", "3", "--drain", "300ms")
	if stderr != "iocpipe: 3 asked, 17 left, which would take 2 min 50 s\n" {
		t.Errorf("stderr: %s", stderr)
	}
}

// hitLines are a text line and a JSON event of one hour and two more of another, which meet the same indicators.
const hitLines = `Mar  4 09:15:22 web-3 sshd[7]: Failed password for root from 93.1.0.1 port 22
Mar  4 09:16:22 web-3 sshd[7]: Failed password for root from 93.1.0.1 port 22
{"@timestamp":"2026-03-04T09:17:00Z","host":{"name":"mail-1"},"source":{"ip":"93.1.0.1"}}
{"@timestamp":"2026-03-04T09:18:00Z","host":{"name":"mail-1"},"destination":{"ip":"93.1.0.2"}}
`

// checkHits checks the records that the hosts of hitLines give.
func checkHits(t *testing.T, records []string, late bool) {
	t.Helper()
	met := make(map[string]int)
	for _, line := range records {
		var r struct {
			Indicator, Type, Verdict, Source string
			Hosts                            []string
			Events                           int
			Late                             bool
			First, Last                      struct {
				Time time.Time
				Line int
			}
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil || len(r.Hosts) != 1 {
			t.Fatalf("%v: %s", err, line)
		}
		if r.Type != "ip" || r.Verdict != "malicious" || r.Source != "ThreatCrowd" || r.Late != late || r.First.Time.Hour() != 9 || r.First.Line == 0 {
			t.Errorf("record: %s", line)
		}
		met[r.Indicator+" "+r.Hosts[0]] += r.Events
	}
	for who, events := range map[string]int{"93.1.0.1 web-3": 2, "93.1.0.1 mail-1": 1, "93.1.0.2 mail-1": 1} {
		if met[who] != events {
			t.Errorf("%d events of %s, want %d", met[who], who, events)
		}
	}
	if len(records) != 3 {
		t.Errorf("records:\n%s", strings.Join(records, "\n"))
	}
}

// Hits are written once per indicator, host and hour, whether the verdict was there on time or came late.
func TestHitsFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	source, release := heldBack(t, lookuptest.JSON(reportMalicious))
	for _, late := range []bool{true, false} {
		hits := filepath.Join(t.TempDir(), "hits.ndjson")
		p := start(t, "--intel", source.URL, "--state", dir, "--hits", hits, "--drain", "10s")
		p.say("%s", strings.TrimSuffix(hitLines, "\n"))
		p.until("the lines", func() bool { return strings.Count(p.out.String(), "\n") == 4 })
		if late {
			release()
		}
		p.end(0)
		data, err := os.ReadFile(hits)
		if err != nil {
			t.Fatal(err)
		}
		checkHits(t, strings.Split(strings.TrimSuffix(string(data), "\n"), "\n"), late)
	}
}

// Hits are posted, again after a failure that may pass.
func TestHitsPosted(t *testing.T) {
	t.Parallel()
	var tries atomic.Int64
	posted := make(chan string, 100)
	soar := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if tries.Add(1) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		var record json.RawMessage
		if err := json.NewDecoder(r.Body).Decode(&record); err != nil || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s of %s: %v", r.Method, r.Header.Get("Content-Type"), err)
		}
		posted <- string(record)
	}))
	t.Cleanup(soar.Close)
	source := maliciousOnly(t, "93.1.0.1", "93.1.0.2")
	_, stderr := iocpipe(t, 0, hitLines, "--intel", source.URL, "--state", "none", "--on-miss", "wait", "--wait", "10s", "--hits", soar.URL)
	close(posted)
	var records []string
	for r := range posted {
		records = append(records, r)
	}
	checkHits(t, records, false)
	if stderr != "" || tries.Load() != 4 {
		t.Errorf("%d tries; stderr: %s", tries.Load(), stderr)
	}
}

// What a malicious report names is known from then on for no question, as related and with its path, but for what
// has nothing to do with it.
func TestRelationsAreKnown(t *testing.T) {
	t.Parallel()
	recent := time.Now().AddDate(0, 0, -30).Format(time.DateOnly)
	resolution := func(value, day string) string {
		return fmt.Sprintf(`{"last_resolved":%q,"ip_address":%q}`, day, value)
	}
	report := `{"response_code":"1","votes":-1,"resolutions":[` + strings.Join([]string{
		resolution(address(1), recent), resolution(address(2), "2019-01-01"), resolution("8.8.8.8", recent),
		resolution(address(3), recent), resolution(address(4), recent),
	}, ",") + `]}`
	var tenants []string
	for i := range 60 {
		tenants = append(tenants, fmt.Sprintf(`{"last_resolved":%q,"domain":"tenant%d.com"}`, recent, i))
	}
	shared := `{"response_code":"1","votes":-1,"resolutions":[` + strings.Join(tenants, ",") + `]}`
	source := lookuptest.NewServer(t, lookuptest.ByValue(map[string]http.Handler{
		"evil-login.com": lookuptest.JSON(report), address(50): lookuptest.JSON(shared),
	}, lookuptest.JSON(reportUnknown)))
	allow := filepath.Join(t.TempDir(), "allow.txt")
	if err := os.WriteFile(allow, []byte(address(4)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"--intel", source.URL, "--state", t.TempDir(), "--own", address(3), "--allow", allow}
	iocpipe(t, 0, "query evil-login.com\nfrom "+address(50)+"\n", append(args, "--on-miss", "wait", "--wait", "10s")...)
	if n := len(source.Asked()); n != 2 {
		t.Fatalf("%d questions", n)
	}
	var input strings.Builder
	for i := range 5 {
		fmt.Fprintf(&input, "to %s\n", address(i))
	}
	input.WriteString("to 8.8.8.8\nquery tenant7.com\n")
	// nothing but what is unknown is asked: the budget is spent
	out, _ := iocpipe(t, 0, input.String(), append(args, "--rate", "1/1h", "--burst", "1")...)
	for i, line := range strings.Split(strings.TrimSuffix(out, "\n"), "\n") {
		related := strings.Contains(line, `"verdict":"related"`)
		if related != (i == 1) || strings.Contains(line, `"verdict":"malicious"`) {
			t.Errorf("line %d: %s", i, line)
		}
		if related && (!strings.Contains(line, `"via":"evil-login.com"`) || !strings.Contains(line, `"relation":"resolution"`)) {
			t.Errorf("the path is not told: %s", line)
		}
	}
}

// What is related is asked only when nothing unknown waits.
func TestRelatedIsAskedLast(t *testing.T) {
	t.Parallel()
	report := `{"response_code":"1","votes":-1,"resolutions":[{"last_resolved":"` + time.Now().Format(time.DateOnly) + `","ip_address":"` + address(30) + `"}]}`
	source := lookuptest.NewServer(t, lookuptest.ByValue(map[string]http.Handler{"evil-login.com": lookuptest.JSON(report)}, lookuptest.JSON(reportUnknown)))
	p := start(t, "--intel", source.URL, "--state", "none", "--rate", "20/s", "--burst", "1")
	p.untilAnnotated("query evil-login.com", `"verdict":"malicious"`)
	p.say("%s%s", lines(0, 15), strings.Repeat("Failed password from "+address(30)+"\n", 5))
	p.until("17 questions", func() bool { return len(source.Asked()) == 17 })
	p.end(0)
	if last := source.Asked()[16]; !strings.HasSuffix(last.Query, "="+address(30)) {
		t.Errorf("asked last: %s, want the related address", last.Query)
	}
}
