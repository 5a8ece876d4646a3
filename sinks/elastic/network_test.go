package elastic

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"iocpipe/sinks/elastic/elastictest"
)

// What goes wrong on the way, over real connections.
var networkFaults = []fault{
	{name: "reset in the midst of the answer", duplicates: true, request: func(n int, w http.ResponseWriter, _ *http.Request, apply func() []byte) bool {
		return n%3 == 1 && hangUp(w, apply()[:40])
	}},
	{name: "reset before the answer", request: func(n int, _ http.ResponseWriter, _ *http.Request, _ func() []byte) bool {
		if n%3 == 1 {
			panic(http.ErrAbortHandler)
		}
		return false
	}},
	{name: "JSON that is cut off", duplicates: true, request: func(n int, w http.ResponseWriter, _ *http.Request, apply func() []byte) bool {
		if n%3 == 1 {
			answer := apply()
			_, _ = w.Write(answer[:len(answer)-20])
		}
		return n%3 == 1
	}},
	{name: "stall", duplicates: true, request: func(n int, _ http.ResponseWriter, r *http.Request, apply func() []byte) bool {
		if n == 2 {
			apply()
			<-r.Context().Done()
		}
		return n == 2
	}},
}

func TestNetworkFaults(t *testing.T) {
	for _, f := range networkFaults {
		for _, prefix := range []string{"d", ""} {
			t.Run(f.name+"/"+prefix, func(t *testing.T) {
				t.Parallel() // most of the time they wait
				s, dead := newServer(), new(letters)
				s.request = f.request
				c := clientOf(t, s, func(c *Config) { c.Timeout = 2 * time.Second })
				b := c.NewBulk(BulkOptions{MaxItems: 100, MaxInFlight: 1, DeadLetters: dead.add})
				for i := range 6 {
					name := prefix
					if name != "" {
						name = fmt.Sprint(name, i)
					}
					items := pairs(name, 50)
					if name == "" {
						items = []byte(strings.ReplaceAll(string(items), `{"n":"`, fmt.Sprintf(`{"n":"%d`, i)))
					}
					if err := b.Add(t.Context(), items); err != nil {
						t.Fatal(err)
					}
				}
				counts, err := b.Close(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				checkBalance(t, s, counts, dead, f.duplicates && prefix == "")
				if counts.Retried == 0 {
					t.Error("nothing went wrong")
				}
				twice := 0
				for _, n := range s.stored {
					twice += n - 1
				}
				t.Logf("%s: %+v, %d twice", f.name, counts, twice)
			})
		}
	}
}

// A node that is gone is left out; the others take its part.
func TestSeveralNodes(t *testing.T) {
	s := newServer()
	gone := httptest.NewServer(s)
	gone.Close()
	c := clientOf(t, s, func(c *Config) { c.URLs = append([]string{gone.URL}, c.URLs...) })
	b := c.NewBulk(BulkOptions{})
	if err := b.Add(t.Context(), pairs("x", 10)); err != nil {
		t.Fatal(err)
	}
	if counts, err := b.Close(t.Context()); err != nil || counts.Indexed != 10 {
		t.Errorf("%+v, %v", counts, err)
	}
}

// A key that is replaced while events flow is read again; one that is not right any more ends the Bulk.
func TestSecretIsReadAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	write := func(key string) {
		if err := os.WriteFile(file, []byte(key+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one:key1")
	var valid atomic.Pointer[string]
	first, second := "ApiKey b25lOmtleTE=", "ApiKey dHdvOmtleTI="
	valid.Store(&first)
	s := newServer()
	c := clientOf(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != *valid.Load() {
			w.Header().Set(productHeader, productName)
			status(w, 401, "security_exception", "unable to authenticate")
			return
		}
		s.ServeHTTP(w, r)
	}), func(c *Config) { c.APIKey = Secret{File: file} })
	b := c.NewBulk(BulkOptions{MaxInFlight: 1})
	settle := func(n int64) {
		t.Helper()
		if err := b.Add(t.Context(), pairs(fmt.Sprint("x", n), 10)); err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		b.After(func() { close(done) })
		select {
		case <-done:
		case <-b.ctx.Done():
		}
		if got := b.Counts().Indexed; got != n {
			t.Fatalf("%d are indexed, want %d", got, n)
		}
	}
	settle(10)
	valid.Store(&second)
	write("two:key2")
	settle(20)
	valid.Store(&first)
	settle(20)
	counts, err := b.Close(t.Context())
	var answer *Error
	if !errors.As(err, &answer) || answer.Status != 401 || counts.Unsent != 10 {
		t.Errorf("%+v, %v", counts, err)
	}
	if strings.Contains(err.Error(), "key2") || strings.Contains(fmt.Sprintf("%v %+v %#v", c.config, c.config, c.config.APIKey), "key1") {
		t.Errorf("a secret is printed: %v", err)
	}
}

// A server that lets nobody in may not even say which one it is.
func TestLetsNobodyIn(t *testing.T) {
	for _, code := range []int{401, 403} {
		c := clientOf(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }))
		b := c.NewBulk(BulkOptions{})
		_ = b.Add(t.Context(), pairs("x", 2)) // it may have ended already
		counts, err := b.Close(t.Context())
		var answer *Error
		if !errors.As(err, &answer) || answer.Status != code || counts.Unsent != 2 {
			t.Errorf("%+v, %v", counts, err)
		}
		if _, _, err := c.Prepare(t.Context(), "x"); !Final(err) {
			t.Errorf("error %v is to be waited for", err)
		}
	}
}

func TestFlavors(t *testing.T) {
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		want    Flavor
		version string
		err     error
	}{
		"Elasticsearch": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(productHeader, productName)
			fmt.Fprint(w, `{"version":{"number":"8.15.5"},"tagline":"You Know, for Search"}`)
		}, Elasticsearch, "8.15.5", nil},
		"Elasticsearch core": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set(productHeader, productName)
			if r.URL.Path == "/_nodes/_local" {
				fmt.Fprint(w, `{"nodes":{"x":{"version":"9.0.4"}}}`)
				return
			}
			w.WriteHeader(405)
			fmt.Fprint(w, `{"error":"Incorrect HTTP method for uri [/] and method [GET]","status":405}`)
		}, Elasticsearch, "9.0.4", nil},
		"Elasticsearch, few rights": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(productHeader, productName)
			status(w, 403, "security_exception", "action [cluster:monitor/main] is unauthorized for API key id [x]")
		}, Elasticsearch, "", nil},
		"OpenSearch": {func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"version":{"distribution":"opensearch","number":"3.8.0"},"tagline":"The OpenSearch Project: https://opensearch.org/"}`)
		}, OpenSearch, "3.8.0", nil},
		"Wazuh Indexer": {func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"version":{"number":"7.10.2"},"tagline":"The OpenSearch Project: https://opensearch.org/"}`)
		}, OpenSearch, "7.10.2", nil},
		"OpenSearch, few rights": {func(w http.ResponseWriter, _ *http.Request) {
			status(w, 403, "security_exception", "no permissions for [cluster:monitor/main] and User [name=x, backend_roles=[], requestedTenant=null]")
		}, OpenSearch, "", nil},
		"another":        {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"version":{"number":"8.0.0"}}`) }, "", "", ErrUnknownServer},
		"no such server": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `<html>`) }, "", "", ErrUnknownServer},
		"busy":           {func(w http.ResponseWriter, _ *http.Request) { status(w, 503, "", "") }, "", "", &Error{}},
	} {
		t.Run(name, func(t *testing.T) {
			f, version, err := clientOf(t, c.handler).Flavor(t.Context())
			var answer *Error
			asAnswer := errors.As(err, &answer)
			if f != c.want || version != c.version || !errors.Is(err, c.err) && !(asAnswer && errors.As(c.err, &answer)) {
				t.Errorf("%q %q, %v", f, version, err)
			}
		})
	}
}

// An OpenSearch is refused by the client unless it is known to be one; an unknown server stays an error.
func TestProductCheck(t *testing.T) {
	s := newServer()
	s.openSearch = true // it does not say what it is, not even here
	c := clientOf(t, s)
	if _, err := c.Do(t.Context(), "POST", "/_bulk", nil, pairs("x", 1)); !errors.Is(err, ErrUnknownServer) {
		t.Errorf("error %v", err)
	}
	c = clientOf(t, s, func(c *Config) { c.Flavor = Elasticsearch })
	if _, err := c.Do(t.Context(), "POST", "/_bulk", nil, pairs("x", 1)); !errors.Is(err, ErrUnknownServer) {
		t.Errorf("error %v", err)
	}
	c = clientOf(t, s, func(c *Config) { c.Flavor = OpenSearch })
	if answer, err := c.Do(t.Context(), "POST", "/_bulk", nil, pairs("x", 1)); err != nil || answer.Status != 200 {
		t.Errorf("error %v", err)
	}
}

func TestConfigErrors(t *testing.T) {
	for _, c := range []struct {
		config Config
		want   string
	}{
		{Config{URLs: []string{"https://elastic:changeme@host:9200"}}, "must not hold a user or password"},
		{Config{URLs: []string{"host:9200"}}, "not the URL of a server"},
		{Config{URLs: []string{"http://a"}, CA: "/nowhere"}, "no such file"},
		{Config{URLs: []string{"http://a"}, CA: "network_test.go"}, "holds no certificate"},
		{Config{URLs: []string{"http://a"}, APIKey: Secret{File: "/nowhere"}}, "API key: open /nowhere"},
		{Config{URLs: []string{"http://a"}, Cert: "x", Key: "y"}, "client certificate"},
		{Config{URLs: []string{"http://a"}, CloudID: "x:y"}, "both URLs and a cloud ID"},
	} {
		_, err := New(c.config)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "changeme") {
			t.Errorf("%v: error %v", c.config.URLs, err)
		}
	}
}

// What a cloud ID says is where requests go: by HTTPS, to the host of Elasticsearch, on the port that is named, or 443.
func TestCloudID(t *testing.T) {
	encode := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for id, want := range map[string]string{
		"name:" + encode("eu.example.net$es-uuid$kibana-uuid"):     "https://es-uuid.eu.example.net:443",
		"a:b:" + encode("eu.example.net:9243$es-uuid$kibana-uuid"): "https://es-uuid.eu.example.net:9243",
		"name:" + encode("eu.example.net:443$es-uuid:9244$kb"):     "https://es-uuid.eu.example.net:9244",
		"name:" + encode("eu.example.net"):                         "",
		"name:no base64":                                           "",
		"eu.example.net":                                           "",
	} {
		c, err := New(Config{CloudID: id})
		if want == "" {
			if err == nil || !strings.Contains(err.Error(), "cloud ID: it ") {
				t.Errorf("%s: error %v", id, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", id, err)
			continue
		}
		urls := c.es.Transport.(interface{ URLs() []*url.URL }).URLs()
		if len(urls) != 1 || urls[0].String() != want {
			t.Errorf("%s: %v, want %s", id, urls, want)
		}
	}
}

// Requests are compressed unless that is off, and the same documents arrive.
func TestGzip(t *testing.T) {
	sent := map[bool]int64{}
	for _, off := range []bool{false, true} {
		s := newServer()
		var size atomic.Int64
		c := clientOf(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			size.Add(r.ContentLength)
			if packed := r.Header.Get("Content-Encoding") == "gzip"; r.URL.Path == "/_bulk" && packed == off {
				t.Errorf("off %v: compressed %v", off, packed)
			}
			s.ServeHTTP(w, r)
		}), func(c *Config) { c.NoGzip = off })
		b := c.NewBulk(BulkOptions{})
		if err := b.Add(t.Context(), pairs("x", 500)); err != nil {
			t.Fatal(err)
		}
		if counts, err := b.Close(t.Context()); err != nil || counts.Indexed != 500 || len(s.stored) != 500 {
			t.Errorf("off %v: %+v, %v", off, counts, err)
		}
		sent[off] = size.Load()
	}
	if sent[true] != int64(len(pairs("x", 500))) || sent[false]*3 > sent[true] {
		t.Errorf("%d bytes compressed, %d as they are", sent[false], sent[true])
	}
}

// A server that wants a certificate of the client's gets it; one that is renewed is used by the next connection, and
// without one nobody is let in.
func TestClientCertificate(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	authority, err := elastictest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	issue := func(name string) {
		if err := authority.WriteClient(name, cert, key); err != nil {
			t.Fatal(err)
		}
	}
	issue("first")
	s := newServer()
	var seen []string
	up := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if name := r.TLS.PeerCertificates[0].Subject.CommonName; !slices.Contains(seen, name) {
			seen = append(seen, name)
		}
		s.ServeHTTP(w, r)
	}))
	up.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: authority.Pool()}
	up.Config.ErrorLog = log.New(io.Discard, "", 0)
	up.StartTLS()
	t.Cleanup(up.Close)
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: up.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	post := func(config Config) error {
		config.URLs, config.CA = []string{up.URL}, ca
		c, err := New(config)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Do(t.Context(), "POST", "/_bulk", nil, pairs("x", 1))
		return err
	}
	if err := post(Config{}); err == nil || !strings.Contains(err.Error(), "certificate required") {
		t.Errorf("without a certificate: %v", err)
	}
	c, err := New(Config{URLs: []string{up.URL}, CA: ca, Cert: cert, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"first", "second"} {
		issue(name)
		for try := 0; try < 100 && !slices.Contains(seen, name); try++ { // a connection may still be opening, or be cut in use
			up.CloseClientConnections()
			_, err = c.Do(t.Context(), "POST", "/_bulk", nil, pairs(name, 1))
		}
	}
	if !slices.Equal(seen, []string{"first", "second"}) {
		t.Errorf("the server saw %q, %v", seen, err)
	}
}

// A node that goes while documents flow costs none: the others take its part.
func TestNodeGoes(t *testing.T) {
	s := newServer()
	going := httptest.NewServer(s)
	c := clientOf(t, s, func(c *Config) { c.URLs = append(c.URLs, going.URL) })
	dead := new(letters)
	b := c.NewBulk(BulkOptions{DeadLetters: dead.add, MaxItems: 50})
	for i := range 20 {
		if i == 7 {
			going.CloseClientConnections()
			going.Close()
		}
		if err := b.Add(t.Context(), pairs(fmt.Sprint("x", i), 50)); err != nil {
			t.Fatal(err)
		}
	}
	counts, err := b.Close(t.Context())
	if err != nil || counts.Indexed+counts.Duplicates != 1000 || len(s.stored) != 1000 || len(dead.all) != 0 {
		t.Errorf("%+v, %v; %d are there", counts, err, len(s.stored))
	}
}
