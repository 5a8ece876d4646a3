package threatcrowd

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"iocpipe/extract"
	"iocpipe/intel"
	"iocpipe/lookup"
	"iocpipe/lookup/httpapi"
	"iocpipe/lookup/lookuptest"
)

const (
	unknown   = `{"response_code":"0"}`
	malicious = `{"response_code":"1","resolutions":[],"hashes":[],"references":[],"votes":-1,` +
		`"permalink":"https:\/\/www.threatcrowd.org\/ip.php?ip=192.0.2.1"}`
)

var ip = extract.Key{Type: extract.IP, Value: "192.0.2.1"}

func newClient(t testing.TB, cfg httpapi.Config) *Client {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestProvider(t *testing.T) {
	lookuptest.Run(t, func(t testing.TB, baseURL string) lookup.Provider {
		return newClient(t, httpapi.Config{BaseURL: baseURL})
	}, lookuptest.Dialect{
		Known: ip, KnownBody: malicious,
		Unknown:  extract.Key{Type: extract.Email, Value: "nobody+1@b.example"},
		NoReport: lookuptest.JSON(unknown), MaxRequests: 1 + httpapi.MaxRedirects,
	})
}

func TestQuestions(t *testing.T) {
	for _, tt := range []struct {
		key  extract.Key
		want string
	}{
		{extract.Key{Type: extract.Domain, Value: "a.example"}, "/domain/report/?domain=a.example"},
		{extract.Key{Type: extract.IP, Value: "2001:db8::1"}, "/ip/report/?ip=2001%3Adb8%3A%3A1"},
		{extract.Key{Type: extract.Email, Value: "a+b@c.example"}, "/email/report/?email=a%2Bb%40c.example"},
		{extract.Key{Type: extract.MD5, Value: "ab"}, "/file/report/?resource=ab"},
		{extract.Key{Type: extract.SHA1, Value: "ab"}, "/file/report/?resource=ab"},
		{extract.Key{Type: extract.SHA256, Value: "ab"}, "/file/report/?resource=ab"},
		{extract.Key{Type: extract.SHA512, Value: "ab"}, "/file/report/?resource=ab"},
		{extract.Key{Type: extract.Antivirus, Value: `trojan (w32)/a&b=100%#é`},
			"/antivirus/report/?antivirus=trojan%20%28w32%29%2Fa%26b%3D100%25%23%C3%A9"},
	} {
		for path, prefix := range map[string]string{
			"": DefaultPath, "/": DefaultPath, "/searchApi/v2/": DefaultPath, "/mirror": "/mirror", "//x/y%2Fz/": "//x/y%2Fz",
		} {
			var got string
			c := newClient(t, httpapi.Config{BaseURL: "https://api.example" + path, UserAgent: "iocpipe/1.2",
				Transport: transport(func(r *http.Request) (*http.Response, error) {
					got = r.Method + " " + r.Header.Get("User-Agent") + " " + r.URL.String()
					return answer(200, unknown), nil
				})})
			if _, err := c.Lookup(t.Context(), tt.key); err != nil {
				t.Errorf("%v: %v", tt.key, err)
			}
			if want := "GET iocpipe/1.2 https://api.example" + prefix + tt.want; got != want {
				t.Errorf("%v asked by\n%s, want\n%s", tt.key, got, want)
			}
		}
	}
}

// A transport answers requests without a network.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
}

func TestVote(t *testing.T) {
	for _, tt := range []struct {
		path      string
		malicious bool
		want      string
	}{
		{"", true, "/vote.php?vote=0&value=a%2Bb%40c.example"},
		{"/searchApi/v2/", false, "/vote.php?vote=1&value=a%2Bb%40c.example"},
		{"/prefix/searchApi/v2", false, "/prefix/vote.php?vote=1&value=a%2Bb%40c.example"},
		{"/mirror", true, "/mirror/vote.php?vote=0&value=a%2Bb%40c.example"},
	} {
		srv := lookuptest.NewServer(t, lookuptest.Body(200, "text/html", "thank you"))
		c := newClient(t, httpapi.Config{BaseURL: srv.URL + tt.path})
		if err := c.Vote(t.Context(), extract.Key{Type: extract.Email, Value: "a+b@c.example"}, tt.malicious); err != nil {
			t.Errorf("%q: %v", tt.path, err)
		}
		asked := srv.Asked()
		if len(asked) != 1 || asked[0].Path+"?"+asked[0].Query != tt.want {
			t.Errorf("%q asked %v, want %s", tt.path, asked, tt.want)
		}
	}
}

func TestVoteRefused(t *testing.T) {
	srv := lookuptest.NewServer(t, lookuptest.Sequence(lookuptest.Body(403, "text/html", "no"), lookuptest.Busy(503, "7")))
	c := newClient(t, httpapi.Config{BaseURL: srv.URL})
	status, ok := errors.AsType[*lookup.StatusError](c.Vote(t.Context(), ip, true))
	if !ok || status.Status != 403 {
		t.Errorf("error %v, want status 403", status)
	}
	if err := c.Vote(t.Context(), ip, true); !errors.Is(err, lookup.ErrBusy) {
		t.Errorf("error %v, want %v", err, lookup.ErrBusy)
	}
	for _, typ := range []extract.Type{extract.None, extract.Antivirus} {
		err := c.Vote(t.Context(), extract.Key{Type: typ, Value: "plugx"}, true)
		if !errors.Is(err, lookup.ErrUnsupported) {
			t.Errorf("%v: error %v, want %v", typ, err, lookup.ErrUnsupported)
		}
	}
	if n := len(srv.Asked()); n != 2 {
		t.Errorf("%d requests, want 2", n)
	}
}

func TestAnswersOfHonestServers(t *testing.T) {
	for name, reply := range map[string]http.Handler{
		"html content type": lookuptest.Body(200, "text/html; charset=UTF-8", malicious),
		"byte order mark":   lookuptest.JSON("\ufeff\r\n" + malicious),
		"gzip":              zipped(malicious),
		"redirects": lookuptest.Sequence(lookuptest.Redirect(301, "%s&moved=1"), lookuptest.Redirect(308, "%s&again"),
			lookuptest.Redirect(302, "%s"), lookuptest.JSON(malicious)),
	} {
		c := newClient(t, httpapi.Config{BaseURL: lookuptest.NewServer(t, reply).URL})
		r, err := c.Lookup(t.Context(), ip)
		if err != nil || r.Verdict() != intel.Malicious {
			t.Errorf("%s: %v, %v", name, r.Verdict(), err)
		}
	}
}

// zipped answers body with gzip, which the client must have asked for.
func zipped(body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", r.Header.Get("Accept-Encoding"))
		z := gzip.NewWriter(w)
		_, _ = io.WriteString(z, body)
		_ = z.Close()
	})
}

func TestBadAnswers(t *testing.T) {
	for name, reply := range map[string]http.Handler{
		"junk votes":  lookuptest.JSON(`{"response_code":"1","votes":"many"}`),
		"other JSON":  lookuptest.JSON(`{"message":"` + ip.Value + ` is not allowed"}`),
		"gzip bomb":   zipped(`{"response_code":"1","hashes":["` + strings.Repeat("0", httpapi.DefaultMaxBody) + `"]}`),
		"broken gzip": http.HandlerFunc(brokenGzip),
		"too many hops": lookuptest.Sequence(lookuptest.Redirect(302, "%s&a"), lookuptest.Redirect(302, "%s&b"),
			lookuptest.Redirect(302, "%s&c"), lookuptest.Redirect(302, "%s&d"), lookuptest.JSON(malicious)),
		"password": lookuptest.Sequence(lookuptest.Redirect(302, "//u:secret@127.0.0.1%s"), lookuptest.JSON(malicious)),
	} {
		srv := lookuptest.NewServer(t, reply)
		_, err := newClient(t, httpapi.Config{BaseURL: srv.URL}).Lookup(t.Context(), ip)
		if !errors.Is(err, lookup.ErrBadAnswer) || !strings.HasPrefix(err.Error(), srv.Host+": ") {
			t.Errorf("%s: error %v, want %v", name, err, lookup.ErrBadAnswer)
		}
		if strings.Contains(err.Error(), ip.Value) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: error tells too much: %v", name, err)
		}
	}
}

func brokenGzip(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Encoding", "gzip")
	_, _ = io.WriteString(w, malicious)
}

func TestMaxBody(t *testing.T) {
	srv := lookuptest.NewServer(t, lookuptest.JSON(malicious))
	exact := newClient(t, httpapi.Config{BaseURL: srv.URL, MaxBody: int64(len(malicious))})
	if _, err := exact.Lookup(t.Context(), ip); err != nil {
		t.Errorf("a body of exactly the bound: %v", err)
	}
	short := newClient(t, httpapi.Config{BaseURL: srv.URL, MaxBody: int64(len(malicious)) - 1})
	if _, err := short.Lookup(t.Context(), ip); !errors.Is(err, lookup.ErrBadAnswer) {
		t.Errorf("a body one byte over the bound: error %v, want %v", err, lookup.ErrBadAnswer)
	}
}

func TestTimeout(t *testing.T) {
	stalled := func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	dripping := func(r *http.Request) (*http.Response, error) {
		resp := answer(200, "")
		resp.Body = io.NopCloser(slow{r.Context(), iotest.OneByteReader(strings.NewReader(malicious))})
		return resp, nil
	}
	for name, trip := range map[string]transport{"stall": stalled, "drip": dripping} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			c := newClient(t, httpapi.Config{BaseURL: "https://api.example", Transport: trip})
			_, err := c.Lookup(t.Context(), ip)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: error %v, want %v", name, err, context.DeadlineExceeded)
			}
			const want = "api.example: no full answer within 30s: context deadline exceeded"
			if err.Error() != want || time.Since(start) != httpapi.DefaultTimeout {
				t.Errorf("%s: after %v %q, want %q", name, time.Since(start), err, want)
			}
		})
	}
}

// A slow reader takes a second for each byte.
type slow struct {
	ctx context.Context
	io.Reader
}

func (s slow) Read(p []byte) (int, error) {
	select {
	case <-time.After(time.Second):
		return s.Reader.Read(p)
	case <-s.ctx.Done():
		return 0, s.ctx.Err()
	}
}

// TestTimeoutOfRealDrip tests the same with a server whose bytes come too fast for any timeout between two of them.
func TestTimeoutOfRealDrip(t *testing.T) {
	srv := lookuptest.NewServer(t, lookuptest.Drip(malicious, time.Millisecond))
	_, err := newClient(t, httpapi.Config{BaseURL: srv.URL, Timeout: 50 * time.Millisecond}).Lookup(t.Context(), ip)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want %v", err, context.DeadlineExceeded)
	}
}

func TestRetryAfterDate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, httpapi.Config{BaseURL: "https://api.example",
			Transport: transport(func(*http.Request) (*http.Response, error) {
				resp := answer(503, "")
				resp.Header.Set("Retry-After", time.Now().Add(90*time.Second).UTC().Format(http.TimeFormat))
				return resp, nil
			})})
		_, err := c.Lookup(t.Context(), ip)
		want := &lookup.BusyError{Host: "api.example", Status: 503, RetryAfter: 90 * time.Second}
		got, _ := errors.AsType[*lookup.BusyError](err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	})
}

func TestErrorsNeverRepeatTheQuestion(t *testing.T) {
	av := extract.Key{Type: extract.Antivirus, Value: "trojan (w32)"}
	for _, inner := range []string{"line: TROJAN (W32)", "line: /?x=trojan%20%28W32%29", "line: trojan (w32)"} {
		c := newClient(t, httpapi.Config{BaseURL: "https://api.example",
			Transport: transport(func(*http.Request) (*http.Response, error) { return nil, errors.New(inner) })})
		_, err := c.Lookup(t.Context(), av)
		if err == nil || strings.Contains(strings.ToLower(err.Error()), "w32") {
			t.Errorf("%q became %v", inner, err)
		}
		if sent, ok := errors.AsType[*url.Error](err); ok {
			t.Errorf("the chain holds the whole URL: %v", sent)
		}
	}
}

// TestErrorsAreBrief serves kilobytes of what is not HTTP, which net/http quotes.
func TestErrorsAreBrief(t *testing.T) {
	c := newClient(t, httpapi.Config{BaseURL: "https://api.example",
		Transport: transport(func(*http.Request) (*http.Response, error) {
			return nil, errors.New("malformed: " + strings.Repeat("é", 5000))
		})})
	_, err := c.Lookup(t.Context(), ip)
	if err == nil || len(err.Error()) > 250 || !utf8.ValidString(err.Error()) || !strings.HasPrefix(err.Error(), "api.example: malformed: é") {
		t.Errorf("got %v", err)
	}
}

func TestTLS(t *testing.T) {
	srv := httptest.NewUnstartedServer(lookuptest.JSON(malicious))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // the handshake that fails is meant to
	srv.StartTLS()
	t.Cleanup(srv.Close)
	_, err := newClient(t, httpapi.Config{BaseURL: srv.URL}).Lookup(t.Context(), ip)
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); !ok || strings.Contains(err.Error(), ip.Value) {
		t.Errorf("error %v, want one about the certificate", err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := os.WriteFile(file, block, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := newClient(t, httpapi.Config{BaseURL: srv.URL, CAFile: file}).Lookup(t.Context(), ip)
	if err != nil || r.Verdict() != intel.Malicious {
		t.Errorf("with the CA file: %v, %v", r.Verdict(), err)
	}
}

func TestProxy(t *testing.T) {
	var asked string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.Host + " " + r.Header.Get("Proxy-Authorization")
		lookuptest.JSON(malicious).ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	withUser := strings.Replace(proxy.URL, "http://", "http://u:secret@", 1)
	c := newClient(t, httpapi.Config{BaseURL: "http://api.example", InsecureHTTP: true, ProxyURL: withUser})
	if r, err := c.Lookup(t.Context(), ip); err != nil || r.Verdict() != intel.Malicious {
		t.Errorf("%v, %v", r.Verdict(), err)
	}
	if asked != "api.example Basic dTpzZWNyZXQ=" {
		t.Errorf("the proxy was asked for %q", asked)
	}
	proxy.Close()
	if _, err := c.Lookup(t.Context(), ip); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v, want one without the password", err)
	}
}
