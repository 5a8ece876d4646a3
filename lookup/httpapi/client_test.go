package httpapi

import (
	"errors"
	"net/http"
	"net/url"
	"testing"

	"iocpipe/lookup"
)

func TestRedirectRules(t *testing.T) {
	for _, tt := range []struct {
		from, to string
		ok       bool
	}{
		{"http://a.example/x", "http://A.Example/y", true},
		{"http://a.example/x", "https://a.example/x", true},
		{"http://a.example:80/x", "https://a.example:443/x", true},
		{"http://a.example:8080/x", "https://a.example:8080/x", true},
		{"https://a.example/x", "http://a.example/x", false},
		{"https://a.example/x", "https://www.a.example/x", false},
		{"https://a.example/x", "https://a.example.evil.example/x", false},
		{"http://a.example:8080/x", "https://a.example/x", false},
		{"http://127.0.0.1:8080/x", "http://127.0.0.1:6379/x", false},
		{"http://a.example/x", "http://u@a.example/x", false},
	} {
		err := checkRedirect(&http.Request{URL: parse(t, tt.to)}, []*http.Request{{URL: parse(t, tt.from)}})
		if ok := err == nil; ok != tt.ok || !ok && !errors.Is(err, lookup.ErrBadAnswer) {
			t.Errorf("%s to %s: %v, want allowed %v", tt.from, tt.to, err, tt.ok)
		}
	}
}

// TestRedirectBackToHTTP tests that a question that moved to https stays there.
func TestRedirectBackToHTTP(t *testing.T) {
	via := []*http.Request{{URL: parse(t, "http://a.example/")}, {URL: parse(t, "https://a.example/")}}
	if err := checkRedirect(&http.Request{URL: parse(t, "http://a.example/")}, via); !errors.Is(err, lookup.ErrBadAnswer) {
		t.Errorf("error %v, want %v", err, lookup.ErrBadAnswer)
	}
}

func parse(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// TestErrorsKeepSecrets tests that what a server says that is not HTTP is not told on when it repeats the question or
// a key.
func TestErrorsKeepSecrets(t *testing.T) {
	for _, said := range []string{"you asked for Bad.Example", "your key is S3CRET", "?v=b%2Bc"} {
		c, err := New(Config{BaseURL: "https://api.example", Transport: transport(func(*http.Request) (*http.Response, error) {
			return nil, errors.New("malformed HTTP response: " + said)
		})}, "/api")
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Get(t.Context(), Request{URL: c.Base() + "/x", Secrets: []string{"bad.example", "s3cret", "b+c", ""}})
		if want := "api.example: no answer, for a reason that repeats the question"; err == nil || err.Error() != want {
			t.Errorf("%q became %v, want %q", said, err, want)
		}
	}
}

func TestHeader(t *testing.T) {
	var got http.Header
	c, err := New(Config{BaseURL: "https://api.example", UserAgent: "iocpipe/1.2", Transport: transport(func(r *http.Request) (*http.Response, error) {
		got = r.Header
		return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
	})}, "/api")
	if err != nil {
		t.Fatal(err)
	}
	mine := http.Header{"X-Key": {"k"}}
	if _, err := c.Get(t.Context(), Request{URL: c.Base(), Header: mine}); err != nil {
		t.Fatal(err)
	}
	if got.Get("X-Key") != "k" || got.Get("Accept") != "application/json" || got.Get("User-Agent") != "iocpipe/1.2" || len(mine) != 1 {
		t.Errorf("sent %v; the caller's is %v now", got, mine)
	}
}

// A transport answers requests without a network.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
