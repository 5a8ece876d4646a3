package lookuptest

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"iocpipe/extract"
	"iocpipe/intel"
	"iocpipe/lookup"
)

// A Dialect is how one kind of source speaks, as far as [Run] must know it.
type Dialect struct {
	Known     extract.Key  // an indicator that the source knows
	KnownBody string       // its answer: one JSON object
	Unknown   extract.Key  // an indicator that the source does not know
	NoReport  http.Handler // how it says so

	// MaxRequests is how many requests one question may cost at most when the source redirects for ever.
	MaxRequests int
}

// A suite runs one provider's tests.
type suite struct {
	new func(t testing.TB, baseURL string) lookup.Provider
	Dialect
}

// Run tests that a provider keeps the contract of [lookup.Provider] with a source that does what sources were seen to
// do. newProvider returns a provider that asks the source at baseURL, plain http on loopback, with its default bounds.
func Run(t *testing.T, newProvider func(t testing.TB, baseURL string) lookup.Provider, d Dialect) {
	s := suite{newProvider, d}
	t.Run("answers", s.answers)
	t.Run("errors are no answers", s.errorsAreNoAnswers)
	t.Run("asks once", s.asksOnce)
	t.Run("busy says when", s.busySaysWhen)
	t.Run("unsupported is not sent", s.unsupported)
	t.Run("refused connection", s.refused)
	t.Run("stays on the host", s.staysOnHost)
	t.Run("cancel before the answer", s.cancelBefore)
	t.Run("cancel within the answer", s.cancelWithin)
	t.Run("concurrent", s.concurrent)
}

// honest answers as a source in good health.
func (s suite) honest() http.Handler {
	return ByValue(map[string]http.Handler{s.Known.Value: JSON(s.KnownBody)}, s.NoReport)
}

func (s suite) answers(t *testing.T) {
	srv := NewServer(t, s.honest())
	p := s.new(t, srv.URL)
	for _, key := range []extract.Key{s.Known, s.Unknown} {
		r, err := p.Lookup(t.Context(), key)
		if err != nil || r.Known != (key == s.Known) {
			t.Errorf("%v: known %v, error %v", key, r.Known, err)
		}
		if diff := cmp.Diff(intel.Report{}, r); !r.Known && diff != "" {
			t.Errorf("%v is unknown, but the report says (-want +got):\n%s", key, diff)
		}
	}
	if n := len(srv.Asked()); n != 2 {
		t.Errorf("%d requests for 2 questions", n)
	}
}

func (s suite) errorsAreNoAnswers(t *testing.T) {
	for _, tt := range []struct {
		name  string
		reply http.Handler
		want  error // nil for any
	}{
		{"page", HTML(), lookup.ErrBadAnswer},
		{"empty", Empty(), lookup.ErrBadAnswer},
		{"database error", TooManyConnections(), lookup.ErrBadAnswer},
		{"null", JSON("null"), lookup.ErrBadAnswer},
		{"list", JSON("[]"), lookup.ErrBadAnswer},
		{"half an object", JSON(s.KnownBody[:len(s.KnownBody)/2]), lookup.ErrBadAnswer},
		{"two objects", JSON(s.KnownBody + s.KnownBody), lookup.ErrBadAnswer},
		{"words behind", JSON(s.KnownBody + "Too many connections"), lookup.ErrBadAnswer},
		{"deep", JSON(strings.Repeat(`{"pulse_info":[`, 100_000)), lookup.ErrBadAnswer},
		{"cut off", CutOff(s.KnownBody), lookup.ErrBadAnswer},
		{"endless", Endless(), lookup.ErrBadAnswer},
		{"reset", Reset(s.KnownBody), nil},
		{"hang up", HangUp(), nil},
		{"not HTTP", NotHTTP(), nil},
		{"too many requests", Busy(http.StatusTooManyRequests, ""), lookup.ErrBusy},
		{"unavailable", Busy(http.StatusServiceUnavailable, "soon"), lookup.ErrBusy},
		{"forbidden", Body(http.StatusForbidden, "application/json", s.KnownBody), nil},
		{"broken", Body(http.StatusInternalServerError, "application/json", s.KnownBody), nil},
		{"no content", Body(http.StatusNoContent, "application/json", ""), nil},
		{"redirect to nowhere", Redirect(http.StatusFound, ""), nil},
		{"redirect to nonsense", Redirect(http.StatusFound, "http://[%s"), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := NewServer(t, tt.reply)
			r, err := s.new(t, srv.URL).Lookup(t.Context(), s.Known)
			s.checkError(t, srv.Host, r, err, tt.want)
			if n := len(srv.Asked()); n != 1 {
				t.Errorf("%d requests for one question", n)
			}
		})
	}
}

// checkError checks that err is a want, names host, keeps the question to itself, and comes without a report.
func (s suite) checkError(t *testing.T, host string, r intel.Report, err, want error) {
	t.Helper()
	if err == nil || want != nil && !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
	if !strings.Contains(err.Error(), host) {
		t.Errorf("error does not name %s: %v", host, err)
	}
	for _, secret := range []string{s.Known.Value, url.QueryEscape(s.Known.Value), "?"} {
		if strings.Contains(strings.ToLower(err.Error()), strings.ToLower(secret)) {
			t.Errorf("error repeats the question (%q): %v", secret, err)
		}
	}
	if diff := cmp.Diff(intel.Report{}, r); diff != "" {
		t.Errorf("a report beside the error (-want +got):\n%s", diff)
	}
}

// asksOnce tests that a question is not sent a second time when the connection breaks, not even on one that was kept
// from the question before, where HTTP clients like to.
func (s suite) asksOnce(t *testing.T) {
	srv := NewServer(t, Sequence(s.honest(), HangUp()))
	p := s.new(t, srv.URL)
	if _, err := p.Lookup(t.Context(), s.Known); err != nil {
		t.Fatal(err)
	}
	r, err := p.Lookup(t.Context(), s.Known)
	s.checkError(t, srv.Host, r, err, nil)
	if n := len(srv.Asked()); n != 2 {
		t.Errorf("%d requests for 2 questions", n)
	}
}

func (s suite) busySaysWhen(t *testing.T) {
	srv := NewServer(t, Busy(http.StatusTooManyRequests, "120"))
	_, err := s.new(t, srv.URL).Lookup(t.Context(), s.Known)
	busy, ok := errors.AsType[*lookup.BusyError](err)
	if !ok || busy.RetryAfter != 2*time.Minute {
		t.Errorf("error %v, want one that says to wait 2m", err)
	}
}

func (s suite) unsupported(t *testing.T) {
	srv := NewServer(t, s.honest())
	r, err := s.new(t, srv.URL).Lookup(t.Context(), extract.Key{})
	s.checkError(t, srv.Host, r, err, lookup.ErrUnsupported)
	if n := len(srv.Asked()); n != 0 {
		t.Errorf("%d requests", n)
	}
}

func (s suite) refused(t *testing.T) {
	const nobody = "127.0.0.1:1" // tcpmux: nothing listens there
	r, err := s.new(t, "http://"+nobody).Lookup(t.Context(), s.Known)
	s.checkError(t, nobody, r, err, nil)
}

func (s suite) staysOnHost(t *testing.T) {
	other := NewServer(t, s.honest())
	for _, status := range []int{301, 302, 303, 307, 308} {
		srv := NewServer(t, Redirect(status, other.URL+"%s"))
		r, err := s.new(t, srv.URL).Lookup(t.Context(), s.Known)
		s.checkError(t, srv.Host, r, err, nil)
	}
	if n := len(other.Asked()); n != 0 {
		t.Errorf("the other host got %d requests", n)
	}
	loop := NewServer(t, Redirect(http.StatusFound, "%s"))
	r, err := s.new(t, loop.URL).Lookup(t.Context(), s.Known)
	s.checkError(t, loop.Host, r, err, nil)
	if n := len(loop.Asked()); n > s.MaxRequests {
		t.Errorf("%d requests for one question, want at most %d", n, s.MaxRequests)
	}
}

func (s suite) cancelBefore(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	srv := NewServer(t, Stall(cancel, nil, s.honest()))
	r, err := s.new(t, srv.URL).Lookup(ctx, s.Known)
	s.checkError(t, srv.Host, r, err, context.Canceled)
}

func (s suite) cancelWithin(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan struct{})
	srv := NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(s.KnownBody[:10]))
		_ = http.NewResponseController(w).Flush()
		cancel()
		<-r.Context().Done()
		close(gone)
	}))
	r, err := s.new(t, srv.URL).Lookup(ctx, s.Known)
	s.checkError(t, srv.Host, r, err, context.Canceled)
	<-gone // the provider has left the connection
}

func (s suite) concurrent(t *testing.T) {
	p := s.new(t, NewServer(t, s.honest()).URL)
	var wg sync.WaitGroup
	for range 8 {
		for _, key := range []extract.Key{s.Known, s.Unknown} {
			wg.Go(func() {
				if r, err := p.Lookup(t.Context(), key); err != nil || r.Known != (key == s.Known) {
					t.Errorf("%v: known %v, error %v", key, r.Known, err)
				}
			})
		}
	}
	wg.Wait()
}
