package elastic

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// A server is a bulk API that keeps what it is sent, and fails when it is told to.
type server struct {
	// request may answer the nth request, from 1, itself, before or, by calling apply, after its items were applied.
	request func(n int, w http.ResponseWriter, r *http.Request, apply func() []byte) (answered bool)

	// item may refuse an item, with the members of its answer. tries counts how often this document came, from 1.
	item func(document string, tries int) (status int, members string)

	openSearch bool

	mu       sync.Mutex
	requests int
	tries    map[string]int
	ids      map[string]bool
	stored   map[string]int // documents, and how often they are there
	order    []string       // documents as they were stored
}

func newServer() *server {
	return &server{tries: make(map[string]int), ids: make(map[string]bool), stored: make(map[string]int)}
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.openSearch {
		w.Header().Set(productHeader, productName)
	}
	w.Header().Set("Content-Type", "application/json")
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		unpacked, err := gzip.NewReader(body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body = unpacked
	}
	data, _ := io.ReadAll(body) // one that is cut off holds fewer items
	if r.URL.Path != "/_bulk" {
		w.WriteHeader(http.StatusMethodNotAllowed) // as a core node answers GET /
		fmt.Fprint(w, `{"error":"Incorrect HTTP method for uri [/] and method [GET], allowed: [HEAD]","status":405}`)
		return
	}
	s.mu.Lock()
	s.requests++
	n := s.requests
	s.mu.Unlock()
	apply := sync.OnceValue(func() []byte { return s.apply(string(data)) })
	if s.request == nil || !s.request(n, w, r, apply) {
		_, _ = w.Write(apply())
	}
}

// apply stores the items of a request and returns the answer.
func (s *server) apply(body string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	var items []string
	in := bufio.NewScanner(strings.NewReader(body))
	in.Buffer(nil, 64<<20)
	for in.Scan() {
		name, to, err := parseAction(in.Bytes())
		if err != nil || !in.Scan() {
			return fmt.Appendf(nil, `{"error":{"type":"illegal_argument_exception","reason":"Malformed action/metadata line"},"status":400}`)
		}
		status, members := s.applyItem(to, in.Text())
		items = append(items, fmt.Sprintf(`{%q:{"_index":%q,"status":%d%s}}`, name, to.Index, status, members))
	}
	return fmt.Appendf(nil, `{"took":1,"errors":true,"items":[%s]}`, strings.Join(items, ","))
}

func (s *server) applyItem(to target, document string) (status int, members string) {
	s.tries[document]++
	if s.item != nil {
		if status, members = s.item(document, s.tries[document]); status != 0 {
			return status, members
		}
	}
	if to.ID != "" && s.ids[to.ID] {
		return http.StatusConflict, errorMember("version_conflict_engine_exception", "document already exists")
	}
	s.ids[to.ID] = true
	s.stored[document]++
	s.order = append(s.order, document)
	return http.StatusCreated, ""
}

func errorMember(kind, reason string) string {
	text, _ := json.Marshal(map[string]string{"type": kind, "reason": reason})
	return `,"error":` + string(text)
}

// A direct doer calls a handler without a network between, so that a fake clock can drive it.
type direct struct{ http.Handler }

func (d direct) Do(ctx context.Context, method, path string, _ url.Values, body []byte) (*Response, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	rec := httptest.NewRecorder()
	d.ServeHTTP(rec, httptest.NewRequestWithContext(ctx, method, path, strings.NewReader(string(body))))
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return &Response{rec.Code, rec.Header(), rec.Body.Bytes()}, nil
}

// clientOf returns a client of a server over the network.
func clientOf(t *testing.T, h http.Handler, change ...func(*Config)) *Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	config := Config{URLs: []string{s.URL}}
	for _, c := range change {
		c(&config)
	}
	c, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// pairs returns n items, with IDs unless prefix is empty.
func pairs(prefix string, n int) (items []byte) {
	for i := range n {
		id := ""
		if prefix != "" {
			id = fmt.Sprintf(`,"_id":"%s-%d"`, prefix, i)
		}
		items = fmt.Appendf(items, "{\"create\":{\"_index\":\"logs\"%s}}\n{\"n\":\"%s-%d\"}\n", id, prefix, i)
	}
	return items
}

// letters collects dead letters.
type letters struct {
	mu  sync.Mutex
	all []Letter
}

func (l *letters) add(more []Letter) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, more...)
	return nil
}

func readAll(r *http.Request) string {
	data, _ := io.ReadAll(r.Body)
	return string(data)
}
