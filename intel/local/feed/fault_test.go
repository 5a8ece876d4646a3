package feed

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"iocpipe/lookup/lookuptest"
)

// In the beginning all is well, and the feed has ten entries. Then the server does what it should not, and the store
// must hold what it held; then it mends, and the store must follow.
func TestFaultsKeepTheOldContent(t *testing.T) {
	const kept = 10
	bomb := gzipped(strings.Repeat("x", 1<<20))
	for name, fault := range map[string]struct {
		reply http.Handler
		want  string // in the error
	}{
		"500":                {answer(500, "oops"), "500 Internal Server Error"},
		"404":                {answer(404, list(20)), "404 Not Found"},
		"403":                {answer(403, list(20)), "403 Forbidden"},
		"204":                {answer(204, ""), "204 No Content"},
		"206":                {answer(206, list(20)), "206 Partial Content"},
		"304 not asked for":  {answer(304, "", "ETag", `"x"`), "304 Not Modified"},
		"html":               {lookuptest.HTML(), "a page of HTML"},
		"html as text":       {answer(200, "\ufeff <!-- hi -->\n<!DOCTYPE HTML>\n"+list(20), "Content-Type", "text/plain"), "a page of HTML"},
		"empty":              {lookuptest.Empty(), "empty"},
		"only comments":      {answer(200, "# nothing today\n"), "no entry"},
		"too many":           {answer(200, "broken\n"+list(20)), "not a list"},
		"cut off":            {lookuptest.CutOff(list(20)), "cut off"},
		"reset":              {lookuptest.Reset(list(20)), "reset"},
		"hang up":            {lookuptest.HangUp(), "EOF"},
		"not http":           {lookuptest.NotHTTP(), "malformed"},
		"stall":              {lookuptest.Stall(func() {}, nil, nil), "timeout awaiting response headers"},
		"stall in body":      {lookuptest.Drip("1.example\n", time.Nanosecond), "stalled"},
		"slow drip":          {lookuptest.Drip(list(1000), 100*time.Millisecond), "stalled"},
		"endless":            {lookuptest.Endless(), "more bytes than are allowed on the wire"},
		"redirect loop":      {lookuptest.Redirect(302, "%s"), "more than 5 redirects"},
		"redirect to nobody": {lookuptest.Redirect(302, "http://127.0.0.1:1/"), "refused"},
		"redirect to public": {lookuptest.Redirect(302, "http://feeds.example/"), "plain http is refused"},
		"redirect to a file": {lookuptest.Redirect(302, "file:///etc/hosts"), "unsupported protocol"},
		"wrong gzip":         {answer(200, list(20), "Content-Encoding", "gzip"), "not the gzip"},
		"cut gzip":           {answer(200, gzipped(list(200))[:100], "Content-Encoding", "gzip"), "cut off"},
		"gzip and rubbish":   {answer(200, gzipped(list(20))+"a page of rubbish", "Content-Encoding", "gzip"), "invalid header"},
		"gzip bomb":          {answer(200, bomb, "Content-Encoding", "gzip"), "more bytes than are allowed when decompressed"},
		"gzip bomb as file":  {answer(200, bomb, "Content-Type", "application/gzip"), "more bytes than are allowed when decompressed"},
		"wrong zstd":         {answer(200, list(20), "Content-Encoding", "zstd"), "magic number mismatch"},
		"brotli":             {answer(200, list(20), "Content-Encoding", "br"), "was not asked for"},
		"429":                {lookuptest.Busy(429, "7200"), "429 Too Many Requests, not before 2026-11-01T15:00:00Z"},
		"503":                {lookuptest.Busy(503, "Sun, 01 Nov 2026 14:30:00 GMT"), "not before 2026-11-01T14:30:00Z"},
		"half refused":       {answer(200, list(10)+strings.Repeat("bad\n", 11)), "more than half of it is refused, 11 of 21; line 11: no indicator"},
		"tiny":               {answer(200, list(4)), "suspiciously small: 4 entries, and there were 10"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.opt.MaxBytes, w.opt.MaxContent = 1<<18, 1<<19
			mended := answer(200, list(12), "ETag", `"mended"`)
			server := lookuptest.NewServer(t, lookuptest.Sequence(answer(200, list(kept)), fault.reply))
			w.add(ofURL("f", server.URL+"/list.txt"))
			if r := w.update(w.opt)["f"]; r.Outcome != Updated || r.Feed.Entries != kept {
				t.Fatalf("at first: %+v", r)
			}
			w.later(time.Hour)
			impatient := w.opt
			impatient.HeaderTimeout, impatient.StallTimeout = 200*time.Millisecond, 200*time.Millisecond
			before := w.registered("f")
			r := w.update(impatient)["f"]
			if r.Outcome != Failed || r.Err == nil || !strings.Contains(r.Err.Error(), fault.want) {
				t.Fatalf("%s, %v; want an error about %q", r.Outcome, r.Err, fault.want)
			}
			if w.held("f") != strings.TrimSpace(strings.ReplaceAll(list(kept), "\n", " ")) || w.replaced != 1 {
				t.Errorf("the store was changed: %s", w.held("f"))
			}
			after := w.registered("f")
			if after.SHA256 != before.SHA256 || !after.Good.Equal(before.Good) || after.Entries != kept || after.ETag != before.ETag {
				t.Errorf("the registry says of what is held: %+v, before: %+v", after, before)
			}
			if after.Error == "" || after.Failures != 1 || !after.Tried.Equal(w.clock()) {
				t.Errorf("the registry says of the failure: %+v", after)
			}
			w.mends(server, mended, after)
		})
	}
}

// mends lets the URL of the feed answer well, from another server, and checks that the store follows.
func (w *world) mends(broken *lookuptest.Server, reply http.Handler, f Feed) {
	w.t.Helper()
	server := lookuptest.NewServer(w.t, reply)
	err := Change(w.t.Context(), w.path, func(r *Registry) error {
		r.Get("f").From = server.URL
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.later(3 * time.Hour) // after every Retry-After
	if r := w.update(w.opt)["f"]; r.Outcome != Updated || r.Feed.Entries != 12 || r.Feed.Error != "" || r.Feed.Failures != 0 || r.Feed.ETag != `"mended"` {
		w.t.Errorf("mended: %+v", r)
	}
	if strings.Count(w.held("f"), "example") != 12 {
		w.t.Errorf("mended: the store holds %s", w.held("f"))
	}
}

func TestFirstContentThatIsBroken(t *testing.T) {
	w := newWorld(t)
	server := lookuptest.NewServer(t, answer(200, ""))
	w.add(ofURL("f", server.URL))
	if r := w.update(w.opt)["f"]; r.Outcome != Failed || w.replaced != 0 {
		t.Errorf("%+v, replaced %d times", r, w.replaced)
	}
}

func TestOneFailureDoesNotHinderOthers(t *testing.T) {
	w := newWorld(t)
	good := lookuptest.NewServer(t, answer(200, list(5)))
	bad := lookuptest.NewServer(t, answer(500, ""))
	w.add(ofURL("a", good.URL), ofURL("b", bad.URL), ofURL("c", good.URL+"/c"))
	results := w.update(w.opt)
	if results["a"].Outcome != Updated || results["b"].Outcome != Failed || results["c"].Outcome != Updated {
		t.Errorf("%+v", results)
	}
	if w.replaced != 1 {
		t.Errorf("the store was replaced %d times, want once for all", w.replaced)
	}
}

func TestStoreThatFails(t *testing.T) {
	w := newWorld(t)
	server := lookuptest.NewServer(t, answer(200, list(5), "ETag", `"1"`))
	w.add(ofURL("f", server.URL))
	w.full = errors.New("no space left on device")
	r := w.update(w.opt)["f"]
	if r.Outcome != Failed || !strings.Contains(r.Err.Error(), "no space left") {
		t.Errorf("%+v", r)
	}
	if f := w.registered("f"); f.ETag != "" || f.SHA256 != "" || !f.Good.IsZero() {
		t.Errorf("the registry says that the store has it: %+v", f)
	}
	w.full = nil
	w.later(time.Hour)
	if r := w.update(w.opt)["f"]; r.Outcome != Updated {
		t.Errorf("with space: %+v", r)
	}
}

func TestSmallIsAcceptedWhenAsked(t *testing.T) {
	w := newWorld(t)
	server := lookuptest.NewServer(t, lookuptest.Sequence(answer(200, list(10)), answer(200, list(1)), answer(200, "# none\n")))
	w.add(ofURL("f", server.URL))
	w.update(w.opt)
	w.opt.AcceptSmall = true
	for _, want := range []int{1, 0} {
		w.later(time.Hour)
		if r := w.update(w.opt)["f"]; r.Outcome != Updated || r.Feed.Entries != want {
			t.Errorf("%+v, want %d entries", r, want)
		}
	}
}

// Events of MISP are full of names of files, which are no indicators here.
func TestUselessRecordsAreNoFaults(t *testing.T) {
	w := newWorld(t)
	w.add(ofURL("f", lookuptest.NewServer(t, answer(200, list(2)+strings.Repeat("useless\n", 20))).URL))
	if r := w.update(w.opt)["f"]; r.Outcome != Updated || r.Feed.Entries != 2 || r.Feed.Refused != 20 {
		t.Errorf("%+v", r)
	}
}

// Feodo's list has two entries in some years, and none in others.
func TestFeedThatMayBeEmpty(t *testing.T) {
	w := newWorld(t)
	server := lookuptest.NewServer(t, lookuptest.Sequence(answer(200, list(2)), answer(200, "# END 0 entries\n"), answer(200, list(200)), answer(200, list(2)), lookuptest.Empty()))
	f := ofURL("f", server.URL)
	f.MayBeEmpty = true
	w.add(f)
	for i, want := range []Outcome{Updated, Updated, Updated, Failed, Failed} {
		if r := w.update(w.opt)["f"]; r.Outcome != want {
			t.Errorf("update %d: %+v, want %s", i, r, want)
		}
		w.later(time.Hour)
	}
}
