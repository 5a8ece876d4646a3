package elastic

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A fault is what a server does wrong, and what must become of documents with it.
type fault struct {
	name    string
	request func(n int, w http.ResponseWriter, r *http.Request, apply func() []byte) bool
	item    func(document string, tries int) (int, string)

	deadLetters int64
	duplicates  bool // documents without _id may be there twice: the server took them and did not say so
	retried     bool
}

func status(w http.ResponseWriter, code int, kind, reason string) bool {
	w.WriteHeader(code)
	fmt.Fprintf(w, `{"status":%d%s}`, code, errorMember(kind, reason))
	return true
}

// hangUp ends the connection of a request in the midst of the answer.
func hangUp(w http.ResponseWriter, part []byte) bool {
	w.Header().Set("Content-Length", "1000000")
	_, _ = w.Write(part)
	panic(http.ErrAbortHandler)
}

// every returns whether the document is one in n.
func every(n int, document string) bool {
	var i int
	_, _ = fmt.Sscanf(document[strings.IndexByte(document, '-')+1:], "%d", &i)
	return i%n == 0
}

// The documents are 600, in items of which 100 go into a request at most.
var faults = []fault{
	{name: "none"},
	{name: "429 for a third of the items, three times each", retried: true, item: func(d string, tries int) (int, string) {
		if every(3, d) && tries <= 3 {
			return 429, errorMember("es_rejected_execution_exception", "rejected execution of coordinating operation")
		}
		return 0, ""
	}},
	{name: "503 for single items, twice each", retried: true, item: func(d string, tries int) (int, string) {
		if every(7, d) && tries <= 2 {
			return 503, errorMember("unavailable_shards_exception", "primary shard is not active")
		}
		return 0, ""
	}},
	{name: "429 for every other request", retried: true, request: func(n int, w http.ResponseWriter, _ *http.Request, _ func() []byte) bool {
		return n%2 == 1 && status(w, 429, "circuit_breaking_exception", "[parent] Data too large")
	}},
	{name: "502, 503, 504", retried: true, request: func(n int, w http.ResponseWriter, _ *http.Request, _ func() []byte) bool {
		if n%4 == 0 {
			return false
		}
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(502 + n%3)
		fmt.Fprint(w, "<html>upstream</html>")
		return true
	}},
	{name: "refused documents", deadLetters: 120, item: func(d string, _ int) (int, string) {
		if every(5, d) {
			return 400, errorMember("document_parsing_exception", "[1:6] failed to parse field [n]")
		}
		return 0, ""
	}},
	{name: "failure store", deadLetters: 60, item: func(d string, _ int) (int, string) {
		if every(10, d) {
			return 201, `,"failure_store":"used"`
		}
		return 0, ""
	}},
	{name: "no such index, and no right to make it", deadLetters: 24, item: func(d string, _ int) (int, string) {
		if every(30, d) {
			return 404, errorMember("index_not_found_exception", "no such index [logs]")
		}
		return 0, ""
	}},
	{name: "blocked by hand", deadLetters: 24, item: func(d string, _ int) (int, string) {
		if every(30, d) {
			return 403, errorMember("cluster_block_exception", "index [logs] blocked by: [FORBIDDEN/8/index write (api)];")
		}
		return 0, ""
	}},
	{name: "disk over the flood stage, three looks long", retried: true, item: func(_ string, tries int) (int, string) {
		if tries <= 3 {
			return 429, errorMember("cluster_block_exception",
				"index [logs] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark, index has read-only-allow-delete block];")
		}
		return 0, ""
	}},
	{name: "disk over the high watermark, no new index", retried: true, item: func(_ string, tries int) (int, string) {
		if tries <= 3 {
			return 403, errorMember("index_create_block_exception", "blocked by: [FORBIDDEN/10/cluster create-index blocked (api)];")
		}
		return 0, ""
	}},
	{name: "fewer items than sent", retried: true, duplicates: true, request: func(n int, w http.ResponseWriter, _ *http.Request, apply func() []byte) bool {
		if n%3 != 1 {
			return false
		}
		answer := string(apply())
		_, _ = w.Write([]byte(answer[:strings.LastIndex(answer, ",{")] + "]}"))
		return true
	}},
	{name: "more items than sent", retried: true, duplicates: true, request: func(n int, w http.ResponseWriter, _ *http.Request, apply func() []byte) bool {
		if n%3 != 1 {
			return false
		}
		_, _ = w.Write([]byte(strings.TrimSuffix(string(apply()), "]}") + `,{"create":{"status":201}}]}`))
		return true
	}},
	{name: "answers that are no JSON", retried: true, duplicates: true, request: func(n int, w http.ResponseWriter, _ *http.Request, apply func() []byte) bool {
		if n%3 == 1 {
			apply()
			_, _ = w.Write([]byte("<html>it works</html>"))
		}
		return n%3 == 1
	}},
}

// feed adds documents in portions of 50, with the order of what is passed on checked, and closes.
func feed(t *testing.T, b *Bulk, prefix string, portions int) (Counts, error) {
	t.Helper()
	var passed atomic.Int64
	for i := range portions {
		if err := b.Add(t.Context(), pairs(fmt.Sprintf("%s%d", prefix, i), 50)); err != nil {
			t.Error(err)
			break
		}
		b.After(func() {
			if !passed.CompareAndSwap(int64(i), int64(i+1)) {
				t.Errorf("portion %d is passed on after %d others", i, passed.Load())
			}
		})
	}
	counts, err := b.Close(context.Background())
	if err == nil && passed.Load() != int64(portions) {
		t.Errorf("%d of %d portions were passed on", passed.Load(), portions)
	}
	return counts, err
}

// checkBalance checks that each document is in the server's store, or with the dead letters, as often as it may be.
func checkBalance(t *testing.T, s *server, counts Counts, dead *letters, duplicates bool) {
	t.Helper()
	if counts.Added != counts.Indexed+counts.Duplicates+counts.DeadLetters || counts.Unsent != 0 {
		t.Errorf("the balance is wrong: %+v", counts)
	}
	if counts.Held != 0 {
		t.Errorf("%d bytes are held at the end", counts.Held)
	}
	if int(counts.DeadLetters) != len(dead.all) {
		t.Errorf("%d dead letters are counted, %d were written", counts.DeadLetters, len(dead.all))
	}
	if lost := int(counts.Added) - len(s.stored) - len(dead.all); lost != 0 {
		t.Errorf("%d documents were lost", lost)
	}
	for document, n := range s.stored {
		if n > 1 && !duplicates {
			t.Errorf("%s is there %d times", document, n)
		}
	}
}

func TestFaults(t *testing.T) {
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, dead := newServer(), new(letters)
				s.request, s.item = f.request, f.item
				b := newBulk(direct{s}, BulkOptions{MaxItems: 100, DeadLetters: dead.add})
				counts, err := feed(t, b, "d", 12)
				if err != nil {
					t.Fatal(err)
				}
				checkBalance(t, s, counts, dead, false)
				if counts.DeadLetters != f.deadLetters {
					t.Errorf("%d dead letters, want %d", counts.DeadLetters, f.deadLetters)
				}
				if f.retried != (counts.Retried > 0) {
					t.Errorf("%d were sent again", counts.Retried)
				}
				t.Logf("%s: %+v", f.name, counts)
			})
		})
	}
}

// What is sent again is what has to be, and nothing else.
func TestRetriedAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.item = func(d string, tries int) (int, string) {
			if d == `{"n":"x-3"}` && tries <= 5 {
				return 429, errorMember("es_rejected_execution_exception", "")
			}
			return 0, ""
		}
		b := newBulk(direct{s}, BulkOptions{})
		if err := b.Add(t.Context(), pairs("x", 10)); err != nil {
			t.Fatal(err)
		}
		counts, err := b.Close(t.Context())
		if err != nil || counts.Retried != 5 || counts.Requests != 6 || counts.Indexed != 10 {
			t.Errorf("%+v, %v", counts, err)
		}
	})
}

func TestTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 1000
		s, dead := newServer(), new(letters)
		s.request = func(_ int, w http.ResponseWriter, r *http.Request, _ func() []byte) bool {
			return r.ContentLength > limit && status(w, 413, "", "")
		}
		b := newBulk(direct{s}, BulkOptions{DeadLetters: dead.add})
		large := fmt.Sprintf("{\"create\":{\"_index\":\"logs\"}}\n{\"n\":\"%s\"}\n", strings.Repeat("x", limit))
		if err := b.Add(t.Context(), append(pairs("a", 100), large...)); err != nil {
			t.Fatal(err)
		}
		counts, err := feed(t, b, "b", 10)
		if err != nil {
			t.Fatal(err)
		}
		checkBalance(t, s, counts, dead, false)
		if counts.DeadLetters != 1 || dead.all[0].Error.Status != 413 || len(dead.all[0].Document) < limit {
			t.Errorf("dead letters: %v", dead.all)
		}
		if b.pace.maxBytes > limit {
			t.Errorf("requests of %d bytes are still made", b.pace.maxBytes)
		}
	})
}

// One document that makes the server refuse whole requests keeps no other out.
func TestPoisonedRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dead := newServer(), new(letters)
		poison := direct{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body := readAll(r)
			if strings.Contains(body, `"_id":"x-77"`) {
				status(w, 400, "action_request_validation_exception", "id is too long")
				return
			}
			_, _ = w.Write(s.apply(body))
		})}
		b := newBulk(poison, BulkOptions{DeadLetters: dead.add})
		if err := b.Add(t.Context(), pairs("x", 200)); err != nil {
			t.Fatal(err)
		}
		counts, err := b.Close(t.Context())
		if err != nil || counts.Indexed != 199 || counts.DeadLetters != 1 || string(dead.all[0].Document) != `{"n":"x-77"}` {
			t.Errorf("%+v, %v", counts, err)
		}
	})
}

// Whom the server does not let in is told so, and what was not sent is kept.
func TestStops(t *testing.T) {
	for code, kind := range map[int]string{401: "security_exception", 403: "security_exception", 404: "", 405: "", 406: "", 415: "", 301: ""} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, dead := newServer(), new(letters)
				s.request = func(n int, w http.ResponseWriter, _ *http.Request, _ func() []byte) bool {
					return n > 2 && status(w, code, kind, "no")
				}
				b := newBulk(direct{s}, BulkOptions{MaxItems: 10, MaxInFlight: 1, DeadLetters: dead.add, KeepUnsent: true})
				if err := b.Add(t.Context(), pairs("x", 100)); err != nil {
					t.Fatal(err)
				}
				counts, err := b.Close(t.Context())
				var answer *Error
				if !errors.As(err, &answer) || answer.Status != code {
					t.Errorf("error %v", err)
				}
				if counts.Indexed != 20 || counts.Unsent != 80 || len(dead.all) != 80 {
					t.Errorf("%+v, %d kept", counts, len(dead.all))
				}
				if err := b.Add(t.Context(), pairs("y", 1)); !errors.As(err, &answer) || len(dead.all) != 81 {
					t.Errorf("a Bulk that has ended takes more: %v, %d kept", err, len(dead.all))
				}
			})
		})
	}
}

// A server that is down makes Add wait, with what is held bounded, and takes everything when it is back.
func TestDownMakesAddWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		var up atomic.Bool
		s.request = func(_ int, w http.ResponseWriter, _ *http.Request, _ func() []byte) bool {
			return !up.Load() && status(w, 503, "", "")
		}
		var told []error
		b := newBulk(direct{s}, BulkOptions{MaxHeld: 10_000, Waiting: func(err error) { told = append(told, err) }})
		var added atomic.Int64
		go func() {
			for i := range 100 {
				if err := b.Add(t.Context(), pairs(fmt.Sprint("p", i), 50)); err != nil {
					t.Error(err)
				}
				added.Add(1)
			}
		}()
		time.Sleep(time.Hour)
		synctest.Wait()
		before, held := added.Load(), b.Counts().Held
		if before == 0 || before > 10 || held > 10_000 {
			t.Errorf("%d portions were taken, %d bytes are held", before, held)
		}
		if n := b.Counts().Requests; n < 60 || n > 500 {
			t.Errorf("%d requests in an hour", n)
		}
		up.Store(true)
		time.Sleep(time.Hour)
		counts, err := b.Close(t.Context())
		if err != nil || counts.Indexed != 5000 || len(s.stored) != 5000 {
			t.Errorf("%+v, %v", counts, err)
		}
		if len(told) != 2 || told[0] == nil || told[1] != nil {
			t.Errorf("told of %v", told)
		}
	})
}

func TestAddIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.request = func(_ int, w http.ResponseWriter, _ *http.Request, _ func() []byte) bool {
			return status(w, 503, "", "")
		}
		b := newBulk(direct{s}, BulkOptions{MaxHeld: 100})
		if err := b.Add(t.Context(), pairs("x", 50)); err != nil { // more than may be held goes alone
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := b.Add(ctx, pairs("y", 1)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		counts, err := b.Close(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || counts.Unsent != 50 {
			t.Errorf("%+v, %v", counts, err)
		}
	})
}

func TestGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.request = func(_ int, w http.ResponseWriter, _ *http.Request, _ func() []byte) bool {
			return status(w, 503, "", "")
		}
		b := newBulk(direct{s}, BulkOptions{GiveUp: 10 * time.Minute})
		began := time.Now()
		if err := b.Add(t.Context(), pairs("x", 50)); err != nil {
			t.Fatal(err)
		}
		counts, err := b.Close(t.Context())
		if took := time.Since(began); err == nil || counts.Unsent != 50 || took < 10*time.Minute || took > 12*time.Minute {
			t.Errorf("%+v, %v after %v", counts, err, took)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.request = func(n int, w http.ResponseWriter, _ *http.Request, _ func() []byte) bool {
			switch n {
			case 1:
				w.Header().Set("Retry-After", "120")
			case 2:
				w.Header().Set("Retry-After", time.Now().Add(4*time.Minute).UTC().Format(http.TimeFormat))
			default:
				return false
			}
			return status(w, 429, "", "")
		}
		b := newBulk(direct{s}, BulkOptions{})
		began := time.Now()
		_ = b.Add(t.Context(), pairs("x", 1))
		if counts, err := b.Close(t.Context()); err != nil || counts.Indexed != 1 || time.Since(began) != 6*time.Minute {
			t.Errorf("%+v, %v after %v", counts, err, time.Since(began))
		}
	})
}

// While the disk is full one document asks every half a minute, not all of them.
func TestFloodProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		began := time.Now()
		s.item = func(string, int) (int, string) {
			if time.Since(began) < time.Hour {
				return 403, errorMember("cluster_block_exception", "blocked by: [FORBIDDEN/12/index read-only / allow delete (api)];")
			}
			return 0, ""
		}
		b := newBulk(direct{s}, BulkOptions{})
		if err := b.Add(t.Context(), pairs("x", 1000)); err != nil {
			t.Fatal(err)
		}
		counts, err := b.Close(t.Context())
		if err != nil || counts.Indexed != 1000 || counts.Requests != 122 || counts.Retried != 120+999 {
			t.Errorf("%+v, %v", counts, err)
		}
	})
}

func TestMalformedForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBulk(direct{http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"items":[]}`) })}, BulkOptions{})
		_ = b.Add(t.Context(), pairs("x", 5))
		if counts, err := b.Close(t.Context()); !errors.Is(err, ErrMalformed) || counts.Unsent != 5 || counts.Requests != maxMalformed {
			t.Errorf("%+v, %v", counts, err)
		}
	})
}

// A key without the right to write is a fault of configuration, not of a hundred thousand documents.
func TestNobodyLetIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dead := newServer(), new(letters)
		s.item = func(string, int) (int, string) {
			return 403, errorMember("security_exception", "action [indices:data/write/bulk[s]] is unauthorized")
		}
		b := newBulk(direct{s}, BulkOptions{DeadLetters: dead.add})
		_ = b.Add(t.Context(), pairs("x", 1000))
		if counts, err := b.Close(t.Context()); err == nil || counts.Unsent != 1000 || len(dead.all) != 0 {
			t.Errorf("%+v, %v", counts, err)
		}
	})
}

// The disk of the dead letters being full ends the Bulk; nothing is passed on.
func TestDeadLettersFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.item = func(string, int) (int, string) { return 400, errorMember("mapper_parsing_exception", "") }
		full := errors.New("no space left on device")
		b := newBulk(direct{s}, BulkOptions{DeadLetters: func([]Letter) error { return full }})
		_ = b.Add(t.Context(), pairs("x", 5))
		b.After(func() { t.Error("what is lost was passed on") })
		if counts, err := b.Close(t.Context()); !errors.Is(err, full) || counts.Unsent != 5 {
			t.Errorf("%+v, %v", counts, err)
		}
	})
}

func TestAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		b := newBulk(direct{s}, BulkOptions{})
		began := time.Now()
		for i := range 3 {
			_ = b.Add(t.Context(), pairs(fmt.Sprint(i), 1))
			synctest.Wait()
			if len(s.stored) != i+1 || time.Since(began) != 0 {
				t.Errorf("document %d is held back", i)
			}
		}
		if _, err := b.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// With a server that takes its time, requests fill up, and more of them run at once.
func TestRequestsFill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		var now, most atomic.Int64
		s.request = func(_ int, _ http.ResponseWriter, _ *http.Request, _ func() []byte) bool {
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			time.Sleep(100 * time.Millisecond)
			return false
		}
		b := newBulk(direct{s}, BulkOptions{MaxItems: 100})
		counts, err := feed(t, b, "d", 200)
		if err != nil || counts.Requests > 110 || most.Load() != DefaultMaxInFlight {
			t.Errorf("%+v, %d at once, %v", counts, most.Load(), err)
		}
	})
}

func TestNotPairs(t *testing.T) {
	b := newBulk(direct{newServer()}, BulkOptions{})
	for _, items := range []string{"{}\n{}\n", `{"create":{"_index":"x"}}`, "{\"create\":{}}\n\n", "{\"create\":{}}\n{}", "{\"delete\":{\"_id\":\"1\"}}\n{\"create\":{}}\n"} {
		if err := b.Add(t.Context(), []byte(items)); err == nil {
			t.Errorf("%q is taken", items)
		}
	}
	if counts, err := b.Close(t.Context()); err != nil || counts != (Counts{}) {
		t.Errorf("%+v, %v", counts, err)
	}
}

func TestRefusedIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dead := newServer(), new(letters)
		s.item = func(string, int) (int, string) { return 400, errorMember("mapper_parsing_exception", "x") }
		var told []string
		b := newBulk(direct{s}, BulkOptions{DeadLetters: dead.add, Refused: func(index string, e Error) { told = append(told, index+" "+e.Type) }})
		if _, err := feed(t, b, "d", 5); err != nil || !slices.Equal(told, []string{"logs mapper_parsing_exception"}) {
			t.Errorf("%v, %v", told, err)
		}
	})
}

// The short way through an answer comes to what the long way does.
func TestAllIndexed(t *testing.T) {
	const good = `{"create":{"_index":"x","_id":"a \"status\":201 \"error\": b","result":"created","status":201}}`
	for name, c := range map[string]struct {
		body string
		n    int
		want bool
	}{
		"all":              {`{"took":1,"errors":false,"items":[` + good + `,{"index":{"status":200}}]}`, 2, true},
		"one too few":      {`{"errors":false,"items":[` + good + `]}`, 2, false},
		"one too many":     {`{"errors":false,"items":[` + good + `,` + good + `]}`, 1, false},
		"errors":           {`{"errors":true,"items":[` + good + `]}`, 1, false},
		"it does not say":  {`{"items":[` + good + `]}`, 1, false},
		"a duplicate":      {`{"errors":false,"items":[{"create":{"status":409}}]}`, 1, false},
		"failure store":    {`{"errors":false,"items":[{"create":{"status":201,"failure_store":"used"}}]}`, 1, false},
		"with blanks":      {`{"errors" : false, "items": [{"create": {"status": 201}}]}`, 1, false},
		"another's status": {`{"errors":false,"status":200,"items":[]}`, 1, false},
	} {
		if got := allIndexed([]byte(c.body), c.n); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func BenchmarkAnswer(b *testing.B) {
	const one = `{"create":{"_index":"bench","_id":"vbQkUJ0BhM2u9Zb0VqX3","_version":1,"result":"created",` +
		`"_shards":{"total":1,"successful":1,"failed":0},"_seq_no":1234567,"_primary_term":1,"status":201}}`
	body := []byte(`{"took":1,"errors":false,"items":[` + strings.TrimSuffix(strings.Repeat(one+",", 1000), ",") + `]}`)
	b.Run("short", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		for b.Loop() {
			if !allIndexed(body, 1000) {
				b.Fatal("not clean")
			}
		}
	})
	b.Run("long", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		for b.Loop() {
			if _, err := parseResults(body, 1000); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// Documents for an index that is not fit for them are not sent; when it is fit again, they are.
func TestWithhold(t *testing.T) {
	s, dead := newServer(), new(letters)
	b := newBulk(direct{s}, BulkOptions{DeadLetters: dead.add})
	other := []byte("{\"create\":{\"_index\":\"other\"}}\n{}\n")
	add := func(prefix string) {
		t.Helper()
		if err := b.Add(t.Context(), append(pairs(prefix, 10), other...)); err != nil {
			t.Fatal(err)
		}
		settled := make(chan struct{})
		b.After(func() { close(settled) })
		<-settled
	}
	b.Withhold("logs", "it is in time-series mode")
	add("a")
	b.Withhold("logs", "")
	add("b")
	counts, err := b.Close(t.Context())
	if err != nil || counts.Indexed != 12 || counts.DeadLetters != 10 || s.requests != 2 {
		t.Fatalf("%+v, %v, %d requests", counts, err, s.requests)
	}
	for _, l := range dead.all {
		if l.Error.Error() != "unfit_index: it is in time-series mode" || !strings.HasPrefix(string(l.Document), `{"n":"a-`) {
			t.Fatalf("%s: %v", l.Document, &l.Error)
		}
	}
}

// When nothing else is ever taken, it ends.
func TestWithholdAll(t *testing.T) {
	s, dead := newServer(), new(letters)
	b := newBulk(direct{s}, BulkOptions{DeadLetters: dead.add, KeepUnsent: true})
	b.Withhold("logs", "no write index")
	_ = b.Add(t.Context(), pairs("a", manyRefused)) // it may have ended already
	counts, err := b.Close(t.Context())
	if err == nil || !strings.Contains(err.Error(), "all are refused: unfit_index: no write index") || counts.Unsent != manyRefused || len(dead.all) != manyRefused {
		t.Errorf("%+v, %v, %d kept", counts, err, len(dead.all))
	}
}

// Remap is asked twice at most about a document, and what it says yes to is sent again. Dead letters are what was added.
func TestRemap(t *testing.T) {
	s, dead := newServer(), new(letters)
	fits := false
	s.item = func(d string, _ int) (int, string) {
		switch {
		case every(5, d) && !strings.Contains(d, `"flat"`) || every(25, d):
			return 400, errorMember("document_parsing_exception", "failed to parse field [n]")
		case every(3, d) && !fits:
			return 400, errorMember("strict_dynamic_mapping_exception", "introduction of [enrichments] within [threat] is not allowed")
		}
		return 0, ""
	}
	asked := 0
	b := newBulk(direct{s}, BulkOptions{DeadLetters: dead.add, Remap: func(index string, e Error, document []byte, time int) (as []byte, again bool) {
		asked++
		fits = true
		if strings.Contains(e.Reason, "[n]") {
			return bytes.Replace(document, []byte("}"), []byte(`,"flat":1}`), 1), time <= 2
		}
		return nil, index == "logs" && strings.Contains(e.Reason, "threat")
	}})
	if err := b.Add(t.Context(), pairs("x", 30)); err != nil {
		t.Fatal(err)
	}
	counts, err := b.Close(t.Context())
	if err != nil || counts.Indexed != 28 || counts.DeadLetters != 2 || counts.Retried != 16 || asked != 16 {
		t.Errorf("%+v, %v, asked %d times", counts, err, asked)
	}
	for _, l := range dead.all {
		if strings.Contains(string(l.Document), "flat") {
			t.Errorf("a dead letter is not what was added: %s", l.Document)
		}
	}
}

// A rollover is told with the first answer that shows it, once.
func TestMoved(t *testing.T) {
	var moved []string
	b := newBulk(direct{http.NotFoundHandler()}, BulkOptions{Moved: func(name string) { moved = append(moved, name) }})
	for _, to := range []string{"plain", "a-1", "a-1", "a-2", "a-2"} {
		name := "alias"
		if to == "plain" {
			name = to
		}
		b.track(name, []byte(`{"errors":false,"items":[{"create":{"_index":"`+to+`","_id":"x"}}]}`))
	}
	if !slices.Equal(moved, []string{"alias"}) {
		t.Errorf("%q", moved)
	}
}
