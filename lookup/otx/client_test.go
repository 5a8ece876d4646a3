package otx

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"iocpipe/extract"
	"iocpipe/intel"
	"iocpipe/lookup"
	"iocpipe/lookup/httpapi"
	"iocpipe/lookup/lookuptest"
)

const key = "0123456789abcdef-secret"

var address = extract.Key{Type: extract.IP, Value: "203.0.113.7"}

// two is what OTX says of address when two pulses name it.
const two = `{"indicator":"203.0.113.7","pulse_info":{"count":2,"pulses":[{"id":"000000000000000000000001"},{"id":"000000000000000000000002"}]},` +
	`"validation":[],"false_positive":[]}`

func newClient(t testing.TB, baseURL string) *Client {
	t.Helper()
	c, err := New(Config{Config: httpapi.Config{BaseURL: baseURL, UserAgent: "iocpipe/1.2"}, Key: key, DeniedHint: "see the manual"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestProvider(t *testing.T) {
	for name, reply := range map[string]http.Handler{
		"404":              lookuptest.Body(404, "text/html", "<h1>not found</h1>"),
		"404 with JSON":    lookuptest.Body(404, "application/json", `{"detail":"endpoint not found"}`),
		"404 without body": lookuptest.Body(404, "application/json", ""),
		"no pulses":        lookuptest.JSON(`{"indicator":"nobody.example.com","pulse_info":{"count":0,"pulses":[]},"validation":[],"false_positive":[]}`),
	} {
		t.Run(name, func(t *testing.T) {
			lookuptest.Run(t, func(t testing.TB, baseURL string) lookup.Provider { return newClient(t, baseURL) }, lookuptest.Dialect{
				Known: address, KnownBody: two,
				Unknown:  extract.Key{Type: extract.Domain, Value: "nobody.example.com"},
				NoReport: reply, MaxRequests: 1 + httpapi.MaxRedirects,
			})
		})
	}
}

func TestQuestions(t *testing.T) {
	for _, tt := range []struct {
		key  extract.Key
		want string
	}{
		{address, "IPv4/203.0.113.7"},
		{extract.Key{Type: extract.IP, Value: "2001:db8::1"}, "IPv6/2001:db8::1"},
		{extract.Key{Type: extract.Domain, Value: "bad.com"}, "domain/bad.com"},
		{extract.Key{Type: extract.Domain, Value: "www.bad.com"}, "hostname/www.bad.com"},
		{extract.Key{Type: extract.Domain, Value: "bad.co.uk"}, "domain/bad.co.uk"},
		{extract.Key{Type: extract.Domain, Value: "www.bad.co.uk"}, "hostname/www.bad.co.uk"},
		{extract.Key{Type: extract.Domain, Value: "github.io"}, "domain/github.io"},
		{extract.Key{Type: extract.Domain, Value: "bad.github.io"}, "hostname/bad.github.io"},
		{extract.Key{Type: extract.Domain, Value: "b.s3.amazonaws.com"}, "hostname/b.s3.amazonaws.com"},
		{extract.Key{Type: extract.Domain, Value: "bad.notatld"}, "domain/bad.notatld"},
		{extract.Key{Type: extract.Domain, Value: "a/b?c.com"}, "domain/a%2Fb%3Fc.com"},
		{extract.Key{Type: extract.MD5, Value: "ab"}, "file/ab"},
		{extract.Key{Type: extract.SHA1, Value: "ab"}, "file/ab"},
		{extract.Key{Type: extract.SHA256, Value: "ab"}, "file/ab"},
	} {
		for path, prefix := range map[string]string{"": DefaultPath, "/": DefaultPath, "/mirror/v1/": "/mirror/v1"} {
			var got, sent string
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got, sent = r.Method+" "+r.UserAgent()+" "+r.RequestURI, r.Header.Get("X-OTX-API-KEY")
				w.WriteHeader(404)
			}))
			_, err := newClient(t, srv.URL+path).Lookup(t.Context(), tt.key)
			srv.Close()
			if want := "GET iocpipe/1.2 " + prefix + "/indicators/" + tt.want + "/general"; err != nil || got != want || sent != key {
				t.Errorf("%v asked by\n%s (key %q, error %v), want\n%s", tt.key, got, sent, err, want)
			}
		}
	}
}

func TestNeverAskedAbout(t *testing.T) {
	srv := lookuptest.NewServer(t, lookuptest.JSON(two))
	c := newClient(t, srv.URL)
	for typ := extract.None; typ <= extract.Antivirus; typ++ {
		if c.Types().Has(typ) {
			continue
		}
		if _, err := c.Lookup(t.Context(), extract.Key{Type: typ, Value: "x"}); !errors.Is(err, lookup.ErrUnsupported) {
			t.Errorf("%v: error %v, want %v", typ, err, lookup.ErrUnsupported)
		}
	}
	if n := len(srv.Asked()); n != 0 {
		t.Errorf("%d requests", n)
	}
}

// TestStatuses tests what becomes of every status that OTX, and what stands before it, was seen to send.
func TestStatuses(t *testing.T) {
	for _, tt := range []struct {
		status     int
		kind, body string
		want       error // nil: the indicator is not known
		says       string
	}{
		{404, "text/html", "<html>", nil, ""},
		{404, "application/json", `{"detail":"no"}`, nil, ""},
		{400, "application/json", `{"detail":"203.0.113.7 is private"}`, lookup.ErrRefused, "takes no question about this indicator (status 400)"},
		{400, "text/html", "<html>plain HTTP to an HTTPS port", new(lookup.StatusError), "status 400 Bad Request"},
		{403, "application/json", `{"detail":"Authentication required"}`, lookup.ErrDenied, "access is denied (status 403): see the manual"},
		{401, "text/html", "", lookup.ErrDenied, "access is denied (status 401): see the manual"},
		{429, "text/html", "", lookup.ErrBusy, "busy (status 429)"},
		{503, "text/html", "<html>", lookup.ErrBusy, "busy (status 503)"},
		{500, "application/json", two, new(lookup.StatusError), "status 500"},
		{502, "text/html", "<html>", new(lookup.StatusError), "status 502"},
		{504, "text/html", "<html>", new(lookup.StatusError), "status 504"},
		{524, "text/html", "<html>", new(lookup.StatusError), "status 524"},
		{200, "text/html", "<html>", lookup.ErrBadAnswer, "answer is no report"},
		{200, "application/json", `{"detail":"203.0.113.7 throttled"}`, lookup.ErrBadAnswer, "answer is no report"},
	} {
		srv := lookuptest.NewServer(t, lookuptest.Body(tt.status, tt.kind, tt.body))
		r, err := newClient(t, srv.URL).Lookup(t.Context(), address)
		if tt.want == nil {
			if err != nil || r.Known {
				t.Errorf("%d %s: known %v, error %v", tt.status, tt.kind, r.Known, err)
			}
			continue
		}
		_, isStatus := errors.AsType[*lookup.StatusError](err)
		_, wantStatus := tt.want.(*lookup.StatusError)
		if isStatus != wantStatus || !wantStatus && !errors.Is(err, tt.want) {
			t.Errorf("%d %s: error %v, want %v", tt.status, tt.kind, err, tt.want)
		} else if s := err.Error(); !strings.HasPrefix(s, srv.Host+": ") || !strings.Contains(s, tt.says) || strings.Contains(s, address.Value) {
			t.Errorf("%d %s: %q, want the host and %q, and not the question", tt.status, tt.kind, s, tt.says)
		}
	}
}

// TestKeyStaysHome tests that the key reaches the one host and no error, whatever a server does.
func TestKeyStaysHome(t *testing.T) {
	var mu sync.Mutex
	var abroad []string
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		abroad = append(abroad, r.Header.Get("X-OTX-API-KEY"))
		mu.Unlock()
	}))
	t.Cleanup(other.Close)
	for name, reply := range map[string]http.Handler{
		"redirect":     lookuptest.Redirect(302, other.URL+"/%s"),
		"named":        lookuptest.Redirect(307, strings.Replace(other.URL, "127.0.0.1", "localhost", 1)+"/%s"),
		"not HTTP":     echoKey("nothing like HTTP: "),
		"status line":  echoKey("HTTP/1.1 abc "),
		"header line":  echoKey("HTTP/1.1 200 OK\r\nbroken "),
		"length":       echoKey("HTTP/1.1 200 OK\r\nContent-Length: "),
		"in the body":  lookuptest.JSON(`{"indicator":"` + key + `"}`),
		"wrong status": lookuptest.Body(403, "text/plain", key),
	} {
		srv := httptest.NewServer(reply)
		_, err := newClient(t, srv.URL).Lookup(t.Context(), address)
		srv.Close()
		if err == nil || strings.Contains(strings.ToLower(err.Error()), key) {
			t.Errorf("%s: error %v, want one without the key", name, err)
		}
	}
	if len(abroad) > 0 {
		t.Errorf("another host was asked, with the keys %q", abroad)
	}
	if c := newClient(t, "https://api.example"); c.key != key {
		t.Fatal("the tests above had no key to tell")
	}
}

// echoKey answers bytes that are not HTTP and hold the key it was sent.
func echoKey(before string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = buf.WriteString(before + r.Header.Get("X-OTX-API-KEY") + "\r\n\r\n")
		_ = buf.Flush()
	})
}

func TestNewRefuses(t *testing.T) {
	for _, tt := range []struct {
		cfg  Config
		want string
	}{
		{Config{Key: "sec ret"}, "the key holds a blank"},
		{Config{Key: "secret\r\nX-Other: 1"}, "the key holds a blank"},
		{Config{Key: "secret", Config: httpapi.Config{BaseURL: "https://api.example/secret"}}, "the key does not belong in it"},
		{Config{Config: httpapi.Config{BaseURL: "https://secret@api.example"}}, "key in the URL is refused"},
		{Config{Config: httpapi.Config{BaseURL: "https://api.example/?key=secret"}}, "a query or fragment"},
		{Config{Config: httpapi.Config{BaseURL: "http://api.example"}}, "plain http is refused"},
	} {
		if _, err := New(tt.cfg); err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("error %v, want one that says %q and not the key", err, tt.want)
		}
	}
	c, err := New(Config{})
	if err != nil || c.api.Base() != DefaultURL+DefaultPath || c.Local() {
		t.Errorf("the zero Config asks %v, %v", c, err)
	}
}

func TestWithoutKeyNoneIsSent(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, sent := r.Header["X-Otx-Api-Key"]; sent {
			t.Error("an empty key was sent")
		}
		lookuptest.JSON(two).ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	c, err := New(Config{Config: httpapi.Config{BaseURL: srv.URL}})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := c.Lookup(t.Context(), address); err != nil || r.Verdict() != intel.Malicious {
		t.Errorf("%v, %v", r.Verdict(), err)
	}
}
