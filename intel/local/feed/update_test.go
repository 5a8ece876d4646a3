package feed

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"iocpipe/lookup/lookuptest"
)

func TestIntervals(t *testing.T) {
	w := newWorld(t)
	server := lookuptest.NewServer(t, answer(200, list(3)))
	f := ofURL("f", server.URL)
	f.Least = Duration(10 * time.Minute)
	w.add(f)
	for _, step := range []struct {
		later time.Duration
		all   bool
		asked int
		what  string
	}{
		{0, false, 1, "a feed that never came is due"},
		{5 * time.Minute, true, 1, "forced, but sooner than its publisher permits"},
		{30 * time.Minute, false, 1, "not due"},
		{0, true, 2, "forced"},
		{59 * time.Minute, false, 3, "a timer that comes a little early"},
		{10 * time.Minute, false, 3, "not due again"},
		{-24 * time.Hour, false, 4, "a clock that was set back does not stop it"},
	} {
		w.later(step.later)
		opt := w.opt
		opt.All = step.all
		w.update(opt)
		if got := len(server.Asked()); got != step.asked {
			t.Errorf("%s: asked %d times, want %d", step.what, got, step.asked)
		}
	}
}

func TestFailuresAreTriedSoonerAndThenLess(t *testing.T) {
	w := newWorld(t)
	server := lookuptest.NewServer(t, answer(500, ""))
	f := ofURL("f", server.URL)
	f.Every = 4 * hour
	w.add(f)
	w.update(w.opt)
	for i, want := range []int{5, 10, 20, 40, 80, 160, 240, 240} {
		r := w.update(w.opt)["f"]
		if wait := r.Next.Sub(w.clock()); wait != time.Duration(want)*time.Minute {
			t.Errorf("after %d failures: %v, want %d min", i+1, wait, want)
		}
		w.later(r.Next.Sub(w.clock()))
		w.update(w.opt)
	}
}

// conditional answers 304 to who knows the tag.
func conditional(tag *atomic.Value, body func() string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := tag.Load().(string)
		w.Header().Set("ETag", now)
		if r.Header.Get("If-None-Match") == now {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = io.WriteString(w, body())
	})
}

func TestUnchangedContentIsNotWritten(t *testing.T) {
	w := newWorld(t)
	var tag atomic.Value
	tag.Store(`"1"`)
	n := 10
	server := lookuptest.NewServer(t, conditional(&tag, func() string { return list(n) }))
	w.add(ofURL("f", server.URL))
	expect := func(what string, outcome Outcome, replaced int) {
		t.Helper()
		r := w.update(forced(w.opt))["f"]
		if r.Outcome != outcome || w.replaced != replaced || r.Feed.Entries != n || r.Feed.ETag != tag.Load() {
			t.Errorf("%s: %+v, replaced %d times", what, r, w.replaced)
		}
		if !r.Feed.Good.Equal(w.clock()) {
			t.Errorf("%s: good as of %v", what, r.Feed.Good)
		}
		w.later(time.Minute)
	}
	expect("at first", Updated, 1)
	expect("304", Unchanged, 1)
	tag.Store(`"2"`)
	expect("another tag, the same bytes", Unchanged, 1)
	n = 11
	tag.Store(`"3"`)
	expect("another tag, other bytes", Updated, 2)
	delete(w.store, "f")
	expect("a store that lost it", Updated, 3)
	f := w.registered("f")
	f.Votes = new(int8)
	w.add(f)
	expect("read with other settings", Updated, 4)
}

func TestLastModified(t *testing.T) {
	w := newWorld(t)
	const day = "Sun, 01 Nov 2026 10:00:00 GMT"
	server := lookuptest.NewServer(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-Modified-Since") == day {
			rw.WriteHeader(http.StatusNotModified)
			return
		}
		rw.Header().Set("Last-Modified", day)
		_, _ = io.WriteString(rw, list(3))
	}))
	w.add(ofURL("f", server.URL))
	w.update(w.opt)
	if r := w.update(forced(w.opt))["f"]; r.Outcome != Unchanged {
		t.Errorf("%+v", r)
	}
}

func TestEncodings(t *testing.T) {
	e, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, reply := range map[string]http.Handler{
		"identity":     answer(200, list(7)),
		"gzip":         answer(200, gzipped(list(7)), "Content-Encoding", "gzip"),
		"zstd":         answer(200, string(e.EncodeAll([]byte(list(7)), nil)), "Content-Encoding", "zstd"),
		"a gzip file":  answer(200, gzipped(list(7))),
		"both":         answer(200, gzipped(gzipped(list(7))), "Content-Encoding", "gzip"),
		"wrong type":   answer(200, list(7), "Content-Type", "text/html"),
		"one redirect": lookuptest.Sequence(lookuptest.Redirect(301, "%s"), answer(200, list(7))),
	} {
		w := newWorld(t)
		w.add(ofURL("f", lookuptest.NewServer(t, reply).URL))
		if r := w.update(w.opt)["f"]; r.Outcome != Updated || r.Feed.Entries != 7 {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestTotalTime(t *testing.T) {
	w := newWorld(t)
	w.opt.Timeout = 300 * time.Millisecond
	server := lookuptest.NewServer(t, lookuptest.Drip(list(1e6), time.Microsecond))
	w.add(ofURL("f", server.URL))
	if r := w.update(w.opt)["f"]; r.Outcome != Failed || !strings.Contains(r.Err.Error(), "not done within 300ms") {
		t.Errorf("%+v", r)
	}
}

func TestKey(t *testing.T) {
	const secret = "s3cr3t/key"
	w := newWorld(t)
	var got []string
	var mu sync.Mutex
	note := func(rw http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, r.Host+r.URL.EscapedPath()+" "+r.Header.Get("X-Key")+" "+r.Referer())
	}
	elsewhere := lookuptest.NewServer(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		note(rw, r)
		_, _ = io.WriteString(rw, list(3))
	}))
	server := lookuptest.NewServer(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		note(rw, r)
		switch {
		case strings.HasPrefix(r.URL.Path, "/away"):
			http.Redirect(rw, r, elsewhere.URL+"/list", http.StatusFound)
		case strings.HasPrefix(r.URL.Path, "/tells"):
			http.Redirect(rw, r, "http://feeds.example"+r.URL.Path+r.Header.Get("X-Key"), http.StatusFound)
		default:
			rw.WriteHeader(http.StatusForbidden)
		}
	}))
	inHeader := Feed{Name: "header", From: server.URL + "/away", Every: hour, KeyEnv: "MY_KEY", KeyHeader: "X-Key"}
	inPath := Feed{Name: "path", From: server.URL + "/away/{key}/list", Every: hour, KeyEnv: "MY_KEY"}
	tells := Feed{Name: "tells", From: server.URL + "/tells/{key}/list", Every: hour, KeyEnv: "MY_KEY", KeyHeader: "X-Key"}
	refused := Feed{Name: "refused", From: server.URL + "/403", Every: hour, KeyEnv: "MY_KEY", KeyHeader: "X-Key", KeyNeeded: true}
	w.add(inHeader, inPath, tells, refused)

	results := w.update(w.opt)
	if err := results["refused"].Err; err == nil || !strings.Contains(err.Error(), "set MY_KEY in the environment") {
		t.Errorf("without a key: %v", err)
	}
	if err := results["path"].Err; err == nil || !strings.Contains(err.Error(), "set MY_KEY in the environment") {
		t.Errorf("without a key: %v", err)
	}

	w.env["MY_KEY"] = secret
	got = nil
	results = w.update(forced(w.opt))
	for name, want := range map[string]Outcome{"header": Unchanged, "path": Updated, "tells": Failed, "refused": Failed} {
		if results[name].Outcome != want {
			t.Errorf("%s: %+v", name, results[name])
		}
	}
	if err := results["refused"].Err; err == nil || !strings.Contains(err.Error(), "the key in MY_KEY is not accepted") {
		t.Errorf("a bad key: %v", err)
	}
	escaped := url.PathEscape(secret)
	all := strings.Join(got, "\n")
	for _, want := range []string{server.Host + "/away " + secret, server.Host + "/away/" + escaped + "/list  "} {
		if !strings.Contains(all, want) {
			t.Errorf("the key was not sent: %q is not in\n%s", want, all)
		}
	}
	for _, line := range got {
		if strings.HasPrefix(line, elsewhere.Host) && (strings.Contains(line, secret) || strings.Contains(line, escaped)) {
			t.Errorf("the key was sent to another host: %s", line)
		}
	}
	file, _ := os.ReadFile(w.path)
	for _, told := range []string{fmt.Sprint(results["tells"].Err), string(file)} {
		if strings.Contains(told, secret) || strings.Contains(told, escaped) || strings.Contains(told, "s3cr3t") {
			t.Errorf("the key is told: %s", told)
		}
	}
}

// A key changes where a known feed comes from; what is known of the one place is not asked of the other.
func TestKeyFrom(t *testing.T) {
	f, _ := ByName("urlhaus")
	for key, want := range map[string]string{"": f.From, "k": f.KeyFrom} {
		if from, _ := f.source(func(string) string { return key }); from != want {
			t.Errorf("with the key %q from %s", key, from)
		}
	}
}

func TestRedirects(t *testing.T) {
	for name, c := range map[string]struct {
		first, last, to string
		insecure, ok    bool
	}{
		"another path":            {"https://a.example/1", "https://a.example/1", "https://a.example/2", false, true},
		"another host":            {"https://a.example/1", "https://a.example/1", "https://cdn.example/2", false, true},
		"http to https":           {"http://a.example/1", "http://a.example/1", "https://a.example/1", true, true},
		"https to http":           {"https://a.example/1", "https://a.example/1", "http://a.example/1", true, false},
		"https to http, later":    {"http://a.example/1", "https://b.example/1", "http://a.example/1", true, false},
		"into the network":        {"https://a.example/1", "https://a.example/1", "https://10.0.0.7/", false, false},
		"to the cloud's metadata": {"http://a.example/1", "http://a.example/1", "http://169.254.169.254/", true, false},
		"to this host":            {"https://a.example/1", "https://a.example/1", "https://localhost/", false, false},
		"local to plain public":   {"http://10.0.0.7/", "http://10.0.0.7/", "http://a.example/", false, false},
		"with a password":         {"https://a.example/1", "https://a.example/1", "https://me:pw@a.example/2", false, false},
	} {
		request := func(u string) *http.Request {
			r, err := http.NewRequest(http.MethodGet, u, nil)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		d := &download{feed: &Feed{InsecureHTTP: c.insecure}}
		err := d.checkRedirect(request(c.to), []*http.Request{request(c.first), request(c.last)})
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFilesAndFolders(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a.txt", "a.example\n")
	write("b.txt.gz", gzipped("b.example\nbad\n"))
	write("broken.txt", "broken\n")
	write("readme.html", "<html></html>")
	folder, err := Own(dir)
	if err != nil {
		t.Fatal(err)
	}
	folder.Name = "folder"
	file, err := Own("file://" + filepath.Join(dir, "b.txt.gz"))
	if err != nil || file.Name != "b" {
		t.Fatal(file, err)
	}
	w.add(folder, file)
	results := w.update(w.opt)
	if r := results["folder"]; r.Outcome != Failed || !strings.Contains(r.Err.Error(), "more than half of it is refused, 3 of 5; b.txt.gz: line 2") {
		t.Errorf("%+v", r)
	}
	write("c.txt", "c.example\n")
	results = w.update(forced(w.opt))
	if r := results["folder"]; r.Outcome != Updated || r.Feed.Entries != 3 || r.Feed.Refused != 3 {
		t.Errorf("%+v", r)
	}
	if r := results["b"]; r.Outcome != Unchanged || r.Feed.Entries != 1 {
		t.Errorf("%+v", r)
	}
	if w.held("folder") != "a.example b.example c.example" || w.held("b") != "b.example" {
		t.Errorf("%v", w.store)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if r := w.update(forced(w.opt))["folder"]; r.Outcome != Failed || w.held("folder") == "" {
		t.Errorf("a folder that is gone: %+v", r)
	}
}

func TestPages(t *testing.T) {
	w := newWorld(t)
	var server *lookuptest.Server
	server = lookuptest.NewServer(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		next := "null"
		switch r.URL.Query().Get("page") {
		case "":
			next = fmt.Sprintf("%q", server.URL+"/pulses?page=2")
		case "2":
			next = `"/pulses?page=3"`
		case "4":
			next = `"http://feeds.example/pulses"`
		}
		_, _ = fmt.Fprintf(rw, "{%q:%s}\n", "next", next)
	}))
	f := ofURL("f", server.URL+"/pulses")
	f.Format, f.MayBeEmpty = "otx", true
	stray := f
	stray.Name, stray.From = "stray", server.URL+"/pulses?page=4"
	w.add(f, stray)
	results := w.update(w.opt)
	if r := results["f"]; r.Outcome != Updated || len(server.Asked()) != 4 {
		t.Errorf("%+v, asked %v", r, server.Asked())
	}
	if r := results["stray"]; r.Outcome != Failed || !strings.Contains(r.Err.Error(), "on another host") {
		t.Errorf("%+v", r)
	}
}

// Two timers at once, and a person: one update after the other, and each feed is asked once.
func TestTwoUpdatesAtOnce(t *testing.T) {
	w := newWorld(t)
	arrived, release := make(chan struct{}, 8), make(chan struct{})
	server := lookuptest.NewServer(t, lookuptest.Stall(func() { arrived <- struct{}{} }, release, answer(200, list(3))))
	w.add(ofURL("f", server.URL))
	waits := make(chan struct{}, 8)
	w.opt.OnWait = func() { waits <- struct{}{} }
	var wg sync.WaitGroup
	var updated atomic.Int64
	for range 3 {
		wg.Go(func() {
			results, err := Update(t.Context(), w.path, w.opt)
			if err != nil || len(results) != 1 {
				t.Errorf("%v, %v", results, err)
				return
			}
			if results[0].Outcome == Updated {
				updated.Add(1)
			}
		})
	}
	<-arrived
	<-waits
	<-waits
	close(release)
	wg.Wait()
	if updated.Load() != 1 || len(server.Asked()) != 1 {
		t.Errorf("updated %d times, asked %d times", updated.Load(), len(server.Asked()))
	}
}

// While an update waits for a server, feeds are added and removed at once, and what is removed does not come back.
func TestChangesDuringAnUpdate(t *testing.T) {
	w := newWorld(t)
	arrived, release := make(chan struct{}, 8), make(chan struct{})
	server := lookuptest.NewServer(t, lookuptest.Stall(func() { arrived <- struct{}{} }, release, answer(200, list(3))))
	w.add(ofURL("stays", server.URL), ofURL("goes", server.URL), ofURL("moves", server.URL))
	done := make(chan []Result)
	go func() {
		results, err := Update(t.Context(), w.path, w.opt)
		if err != nil {
			t.Error(err)
		}
		done <- results
	}()
	for range 3 {
		<-arrived
	}
	w.add(ofURL("comes", server.URL))
	if err := Change(t.Context(), w.path, func(r *Registry) error {
		r.Get("moves").From = server.URL + "/elsewhere"
		return r.Remove("goes")
	}); err != nil {
		t.Fatal(err)
	}
	close(release)
	if results := <-done; len(results) != 1 || results[0].Feed.Name != "stays" {
		t.Errorf("%+v", results)
	}
	if w.holds("goes") || w.holds("moves") || !w.holds("stays") {
		t.Errorf("the store holds %v", w.store)
	}
	if f := w.registered("comes"); !f.Tried.IsZero() {
		t.Errorf("%+v", f)
	}
}

func TestUpdateThatIsStopped(t *testing.T) {
	w := newWorld(t)
	arrived := make(chan struct{}, 1)
	server := lookuptest.NewServer(t, lookuptest.Stall(func() { arrived <- struct{}{} }, nil, nil))
	f := ofURL("f", server.URL)
	f.Least = hour
	w.add(f)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	if _, err := Update(ctx, w.path, w.opt); err == nil {
		t.Error("no error")
	}
	if f := w.registered("f"); f.Failures != 0 || !f.Tried.IsZero() {
		t.Errorf("a person's ^C counts as the feed's failure: %+v", f)
	}
	w.later(time.Minute)
	if r := w.update(forced(w.opt))["f"]; r.Outcome != NotDue {
		t.Errorf("a person's ^C lets the feed be asked sooner than its publisher permits: %+v", r)
	}
}

func TestLeftoversAreSwept(t *testing.T) {
	w := newWorld(t)
	dir := filepath.Join(filepath.Dir(w.path), updateDir+"123")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	w.update(w.opt) // which looks for what is left
}

func TestNames(t *testing.T) {
	w := newWorld(t)
	server := lookuptest.NewServer(t, answer(200, list(3)))
	w.add(ofURL("a", server.URL), ofURL("b", server.URL))
	w.opt.Names = []string{"b"}
	if results := w.update(w.opt); len(results) != 1 || results["b"].Outcome != Updated {
		t.Errorf("%+v", results)
	}
	w.opt.Names = []string{"c"}
	if _, err := Update(t.Context(), w.path, w.opt); err == nil || err.Error() != "there is no feed c: there are a, b" {
		t.Error(err)
	}
}

func TestProgress(t *testing.T) {
	w := newWorld(t)
	text := list(1000)
	server := lookuptest.NewServer(t, answer(200, text, "Content-Length", fmt.Sprint(len(text))))
	w.add(ofURL("f", server.URL))
	var last, total int64
	w.opt.OnProgress = func(name string, done, of int64) { last, total = done, of }
	w.update(w.opt)
	if last != int64(len(text)) || total != int64(len(text)) {
		t.Errorf("%d of %d, want %d", last, total, len(text))
	}
}
