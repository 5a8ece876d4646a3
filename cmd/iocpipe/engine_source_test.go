package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"iocpipe/lookup/lookuptest"
)

// settings writes a configuration and returns its file.
func settings(t *testing.T, format string, args ...any) string {
	path := filepath.Join(t.TempDir(), "iocpipe.yaml")
	if err := os.WriteFile(path, fmt.Appendf(nil, format, args...), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// hostile are the sources that were seen to do anything but answer.
func hostile(t *testing.T) map[string]string {
	other := lookuptest.NewServer(t, lookuptest.JSON(reportMalicious))
	t.Cleanup(func() {
		if n := len(other.Asked()); n != 0 {
			t.Errorf("the host of a redirect was asked %d times", n)
		}
	})
	urls := make(map[string]string)
	for name, reply := range map[string]http.Handler{
		"database error":     lookuptest.TooManyConnections(),
		"empty":              lookuptest.Empty(),
		"page":               lookuptest.HTML(),
		"page under 503":     lookuptest.Busy(http.StatusServiceUnavailable, ""),
		"internal error":     lookuptest.Body(http.StatusInternalServerError, "text/html", "oops"),
		"bad gateway":        lookuptest.Body(http.StatusBadGateway, "application/json", reportMalicious),
		"origin down":        lookuptest.Body(520, "text/html", "<html>520</html>"),
		"origin slow":        lookuptest.Body(524, "application/json", reportMalicious),
		"forbidden":          lookuptest.Body(http.StatusForbidden, "application/json", reportMalicious),
		"half an object":     lookuptest.JSON(reportMalicious[:20]),
		"cut off":            lookuptest.CutOff(reportMalicious),
		"reset":              lookuptest.Reset(reportMalicious),
		"hang up":            lookuptest.HangUp(),
		"no HTTP":            lookuptest.NotHTTP(),
		"endless":            lookuptest.Endless(),
		"drip":               lookuptest.Drip(reportMalicious, 100*time.Millisecond),
		"stalled":            lookuptest.Stall(func() {}, nil, nil),
		"redirect elsewhere": lookuptest.Redirect(http.StatusFound, other.URL+"%s"),
		"redirect 307":       lookuptest.Redirect(http.StatusTemporaryRedirect, other.URL+"%s"),
		"redirect loop":      lookuptest.Redirect(http.StatusMovedPermanently, "%s"),
	} {
		urls[name] = lookuptest.NewServer(t, reply).URL
	}
	strange := httptest.NewUnstartedServer(lookuptest.JSON(reportMalicious))
	strange.Config.ErrorLog = log.New(io.Discard, "", 0)
	strange.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
	strange.StartTLS()
	t.Cleanup(strange.Close)
	urls["unknown certificate"] = strange.URL
	urls["no TLS"] = strings.Replace(urls["page"], "http:", "https:", 1)
	urls["no such host"] = "https://nobody.invalid"
	urls["nobody listens"] = "http://" + freeAddress(t)
	return urls
}

// freeAddress returns an address of loopback where nobody listens.
func freeAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// No error is taken for an answer, none holds up or changes a line, and none is told but once, whatever the source
// should speak.
func TestHostileSources(t *testing.T) {
	t.Parallel()
	for name, url := range hostile(t) {
		for _, language := range []string{"", "otx:"} {
			t.Run(language+name, func(t *testing.T) {
				t.Parallel()
				checkHostile(t, language+url)
			})
		}
	}
}

// checkHostile runs the filter with a source that never answers.
func checkHostile(t *testing.T, intel string) {
	dir := t.TempDir()
	config := settings(t, "sources:\n  - intel: %s\n    timeout: 300ms\n    rate: 200/s\n    burst: 40\n", intel)
	p := start(t, "--config", config, "--state", dir)
	input := lines(0, 30)
	p.say("%s", strings.TrimSuffix(input, "\n"))
	p.until("that it is down is said", func() bool { return strings.Contains(p.err.String(), " is down: ") })
	more := lines(30, 30)
	p.say("%s", strings.TrimSuffix(more, "\n"))
	p.end(1)
	checkNothingLearned(t, p, input+more, dir)
	if stats, _ := iocpipe(t, 0, "", "cache", "stats", "--state", dir); !strings.Contains(stats, " is down: ") {
		t.Errorf("cache stats does not tell of it: %s", stats)
	}
}

// checkNothingLearned checks that the lines passed as they were, one message was told and no answer was kept.
func checkNothingLearned(t *testing.T, p *program, input, dir string) {
	t.Helper()
	if out := p.out.String(); out != input {
		t.Errorf("output:\n%s", out)
	}
	checkMessages(t, p.err.String(), 1)
	if kept, _ := iocpipe(t, 0, "", "cache", "ls", "--state", dir); kept != "" {
		t.Errorf("kept as answers:\n%s", kept)
	}
}

// A source that has had too many requests and does not say when to come back is left alone for a while, and no more is
// known for it.
func TestTooManyRequests(t *testing.T) {
	t.Parallel()
	for _, language := range []string{"", "otx:"} {
		t.Run("by "+language, func(t *testing.T) {
			t.Parallel()
			source, dir := lookuptest.NewServer(t, lookuptest.Busy(http.StatusTooManyRequests, "")), t.TempDir()
			p := start(t, "--intel", language+source.URL, "--burst", "1", "--state", dir)
			input := lines(0, 30)
			p.say("%s", strings.TrimSuffix(input, "\n"))
			p.until("it was asked", func() bool {
				log, _ := iocpipe(t, 0, "", "asking", "log", "--state", dir)
				return strings.Contains(log, "(status 429)")
			})
			p.end(1)
			checkNothingLearned(t, p, input, dir)
		})
	}
}

// checkMessages checks that there are n messages, and that none names an indicator.
func checkMessages(t *testing.T, stderr string, n int) {
	t.Helper()
	if strings.Count(stderr, "\n") != n {
		t.Errorf("not %d messages: %s", n, stderr)
	}
	if regexp.MustCompile(`93\.1\.`).MatchString(stderr) {
		t.Errorf("a message names an indicator: %s", stderr)
	}
}

// A source that wants to be left alone is, for as long as it says.
func TestRetryAfterIsObeyed(t *testing.T) {
	t.Parallel()
	for name, retryAfter := range map[string]func() string{
		"seconds": func() string { return "3" },
		"date":    func() string { return time.Now().Add(4 * time.Second).UTC().Format(http.TimeFormat) }, // cuts off the fraction
	} {
		for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
			t.Run(fmt.Sprintf("%d in %s", status, name), func(t *testing.T) {
				t.Parallel()
				busy := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					lookuptest.Busy(status, retryAfter()).ServeHTTP(w, r)
				})
				source := lookuptest.NewServer(t, lookuptest.Sequence(busy, lookuptest.JSON(reportUnknown)))
				p := start(t, "--intel", source.URL, "--state", t.TempDir(), "--rate", "100/s", "--burst", "1", "--drain", "30s")
				p.say("%s", strings.TrimSuffix(lines(0, 20), "\n"))
				p.until("it is asked again", func() bool { return len(source.Asked()) > 1 })
				asked := source.Asked()
				if after := asked[1].Time.Sub(asked[0].Time); after < 2900*time.Millisecond {
					t.Errorf("asked again after %v, want 3s", after)
				}
				p.end(0)
			})
		}
	}
}

// That a source wants to be left alone is heard by the other processes of the host, and by those that start later.
func TestRetryAfterIsForTheHost(t *testing.T) {
	t.Parallel()
	source, dir := lookuptest.NewServer(t, lookuptest.Busy(http.StatusTooManyRequests, "3600")), t.TempDir()
	args := []string{"--intel", source.URL, "--state", dir, "--rate", "100/s", "--burst", "1"}
	beside, first := start(t, args...), start(t, args...)
	first.say("%s", strings.TrimSuffix(lines(0, 5), "\n"))
	first.until("it says so", func() bool { return strings.Contains(first.err.String(), "ask again in 1h0m0s") })
	first.end(1)
	beside.say("%s", strings.TrimSuffix(lines(10, 5), "\n"))
	for round := range 3 {
		iocpipe(t, 0, lines(20+10*round, 5), append(args, "--drain", "300ms")...)
	}
	beside.end(0)
	if n := len(source.Asked()); n != 1 {
		t.Errorf("asked %d times, want once", n)
	}
	if stats, _ := iocpipe(t, 0, "", "cache", "stats", "--state", dir); !strings.Contains(stats, "wants to be left alone until") {
		t.Errorf("cache stats does not tell of it: %s", stats)
	}
}

// What a request carries beside its question tells nothing of the line.
func TestRequestTellsNothingElse(t *testing.T) {
	t.Parallel()
	headers := make(chan http.Header, 1)
	source := lookuptest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		headers <- r.Header.Clone()
		lookuptest.JSON(reportUnknown).ServeHTTP(w, r)
	}))
	iocpipe(t, 0, "Failed password for secret-user from "+address(1)+"\n", "--intel", source.URL, "--state", "none", "--on-miss", "wait", "--wait", "10s")
	for name, values := range <-headers {
		switch name {
		case "User-Agent", "Accept", "Accept-Encoding", "Connection":
		default:
			t.Errorf("header %s", name)
		}
		if text := fmt.Sprint(values); strings.Contains(text, "secret-user") || strings.Contains(text, address(1)) {
			t.Errorf("%s: %s", name, text)
		}
	}
	if agent := source.Asked()[0].Agent; !strings.HasPrefix(agent, "iocpipe") {
		t.Errorf("User-Agent %q", agent)
	}
}

// Sources are asked about their own types within their own budgets; the worst verdict wins, and explain shows each.
func TestSeveralSources(t *testing.T) {
	t.Parallel()
	benign := lookuptest.NewServer(t, lookuptest.JSON(`{"response_code":"1","votes":1}`))
	bad := maliciousOnly(t, address(1))
	slow := maliciousOnly(t)
	dir, list := t.TempDir(), filepath.Join(t.TempDir(), "list.txt")
	if err := os.WriteFile(list, []byte(address(9)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	config := settings(t, `intel: [%[1]s, %[2]s, %[3]s, %[4]s]
state: %[5]s
sources:
  - intel: %[1]s
    name: gentle
  - intel: %[2]s
    name: strict
    types: ip
  - intel: %[3]s
    name: rare
    rate: 1/1h
    burst: 2
`, benign.URL, bad.URL, slow.URL, list, dir)
	input := fmt.Sprintf("a %s\nb %s\nc www.iana.org\nd %s\n", address(1), address(2), address(9))
	p := start(t, "--config", config, "--on-miss", "wait", "--wait", "5s")
	p.say("%s", strings.TrimSuffix(input, "\n"))
	p.until("the lines", func() bool { return strings.Count(p.out.String(), "\n") == 4 })
	p.end(0)
	if n := len(slow.Asked()); n > 2 {
		t.Errorf("the rare source was asked %d times", n)
	}
	out := strings.Split(p.out.String(), "\n")
	for i, want := range []string{`"verdict":"malicious"`, `"verdict":"benign"`, `"verdict":"benign"`, `"verdict":"malicious"`} {
		if !strings.Contains(out[i], want) {
			t.Errorf("line %d lacks %s: %s", i+1, want, out[i])
		}
	}
	for _, s := range []*lookuptest.Server{benign, bad, slow} {
		for _, r := range s.Asked() {
			if strings.Contains(r.Query, address(9)) || s == bad && strings.Contains(r.Query, "iana") {
				t.Errorf("asked: %v", r)
			}
		}
	}
	told, _ := iocpipe(t, 0, "", "explain", "--config", config, address(1))
	if !strings.Contains(told, "answer · strict: malicious") || !strings.Contains(told, "    malicious · strict\n") {
		t.Errorf("explain:\n%s", told)
	}
	told, _ = iocpipe(t, 0, "", "explain", "--config", config, address(2))
	if !strings.Contains(told, "answer · gentle: benign") || !strings.Contains(told, "answer · strict: not known") {
		t.Errorf("explain:\n%s", told)
	}
}
