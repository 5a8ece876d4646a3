package elastictest

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// A Flavor is which product a [Faulty] passes for.
type Flavor string

// The flavors.
const (
	AsElasticsearch Flavor = "elasticsearch"
	AsOpenSearch    Flavor = "opensearch"
)

// A Faulty is a server that speaks as much of the API as is used here, keeps documents in memory, and fails as it is
// told. Names that begin with logs- are data streams.
type Faulty struct {
	URL    string
	Flavor Flavor
	CA     []byte // what signed its certificate, in PEM; nil for plain HTTP

	server *httptest.Server
	cert   certificate

	mu       sync.Mutex
	script   []Fault
	gate     func(*http.Request) (status int, reason string)
	limit    int
	requests int
	store    store
}

// NewFaulty starts a server that does well until it is told otherwise.
func NewFaulty(t testing.TB, flavor Flavor) *Faulty {
	f := &Faulty{Flavor: flavor, store: newStore()}
	f.server = httptest.NewServer(f)
	f.URL = f.server.URL
	t.Cleanup(f.close)
	return f
}

// NewFaultyTLS is [NewFaulty] with TLS, by a certificate that [Faulty.CA] signed.
func NewFaultyTLS(t testing.TB, flavor Flavor) *Faulty {
	f := &Faulty{Flavor: flavor, store: newStore()}
	f.server = httptest.NewUnstartedServer(f)
	f.server.TLS = f.cert.config()
	f.server.Config.ErrorLog = log.New(io.Discard, "", 0) // who does not trust it says so
	f.Renew(t)
	f.server.StartTLS()
	f.URL = f.server.URL
	t.Cleanup(f.close)
	return f
}

func (f *Faulty) close() {
	f.server.CloseClientConnections() // some are stalled
	f.server.Close()
}

// Renew gives the server another certificate, signed by another authority, and cuts all connections.
func (f *Faulty) Renew(t testing.TB) {
	ca, err := f.cert.renew()
	if err != nil {
		t.Fatal(err)
	}
	f.CA = ca
	f.server.CloseClientConnections()
}

// Next adds faults for the bulk requests to come, one each, in this order. After them all is well.
func (f *Faulty) Next(faults ...Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.script = append(f.script, faults...)
}

// Times returns n of a fault.
func Times(n int, fault Fault) (faults []Fault) {
	for range n {
		faults = append(faults, fault)
	}
	return faults
}

// Left is the number of faults that have not happened yet.
func (f *Faulty) Left() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.script)
}

// Gate lets a function refuse any request by a status other than 0; nil opens the gate.
func (f *Faulty) Gate(gate func(*http.Request) (status int, reason string)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gate = gate
}

// Limit refuses bodies of more bytes with 413.
func (f *Faulty) Limit(bytes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.limit = bytes
}

// Requests is the number of bulk requests so far.
func (f *Faulty) Requests() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.requests
}

// Documents returns the sources that all indices together hold, byte for byte, in the order in which they came.
func (f *Faulty) Documents() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.store.sources()
}

// Put stores a document as another writer does, at any time.
func (f *Faulty) Put(index, id, source string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.store.put(f.store.writeIndex(index), id, json.RawMessage(source))
}

// ServeHTTP answers as the API does, or fails.
func (f *Faulty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if f.Flavor == AsElasticsearch {
		w.Header().Set("X-Elastic-Product", "Elasticsearch")
	}
	body, err := readBody(r)
	if err != nil {
		fail(w, http.StatusBadRequest, "parse_exception", err.Error())
		return
	}
	f.mu.Lock()
	gate, limit := f.gate, f.limit
	f.mu.Unlock()
	if gate != nil {
		if status, reason := gate(r); status != 0 {
			if f.Flavor == AsOpenSearch {
				w.Header().Set("WWW-Authenticate", `Basic realm="OpenSearch Security"`)
			}
			fail(w, status, "security_exception", reason)
			return
		}
	}
	if limit > 0 && len(body) > limit {
		fail(w, http.StatusRequestEntityTooLarge, "content_too_long_exception", "too much at once")
		return
	}
	if strings.HasSuffix(r.URL.Path, "/_bulk") {
		f.bulk(w, r, body)
		return
	}
	f.route(w, r, body)
}

func readBody(r *http.Request) ([]byte, error) {
	in := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, err
		}
		in = z
	}
	return io.ReadAll(in)
}

// bulk lets the next fault of the script have the request.
func (f *Faulty) bulk(w http.ResponseWriter, r *http.Request, body []byte) {
	items, err := parseItems(strings.TrimPrefix(strings.TrimSuffix(r.URL.Path, "/_bulk"), "/"), body)
	if err != nil {
		fail(w, http.StatusBadRequest, "illegal_argument_exception", err.Error())
		return
	}
	f.mu.Lock()
	f.requests++
	fault := Fine
	if len(f.script) > 0 {
		fault, f.script = f.script[0], f.script[1:]
	}
	f.mu.Unlock()
	fault(&Exchange{Items: items, f: f, w: w, r: r})
}

// route answers everything that is no bulk request.
func (f *Faulty) route(w http.ResponseWriter, r *http.Request, body []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	last := parts[len(parts)-1]
	switch {
	case r.URL.Path == "/":
		f.root(w)
	case last == "_pit" || last == "point_in_time":
		f.pit(w, r.Method)
	case last == "_search":
		answer(w, http.StatusOK, f.store.search(strings.Split(parts[0], ","), body))
	case last == "_mget":
		answer(w, http.StatusOK, f.store.mget(parts[0], body))
	case last == "_refresh" || last == "_health" || last == "health":
		answer(w, http.StatusOK, object{"status": "green"})
	case len(parts) == 3 && parts[1] == "_doc" && r.Method == http.MethodGet:
		f.get(w, parts[0], parts[2])
	case len(parts) == 3 && parts[1] == "_update":
		i := item{action: "update", index: parts[0], id: parts[2], source: body}
		result := f.store.apply(&i)
		status, _ := result["status"].(int)
		answer(w, status, result)
	case r.Method == http.MethodHead:
		w.WriteHeader(http.StatusNotFound)
	default:
		fail(w, http.StatusNotFound, "index_not_found_exception", "no such index ["+parts[0]+"]")
	}
}

func (f *Faulty) root(w http.ResponseWriter) {
	version := object{"number": "8.15.5"}
	tagline := "You Know, for Search"
	if f.Flavor == AsOpenSearch {
		version, tagline = object{"number": "3.8.0", "distribution": "opensearch"}, "The OpenSearch Project: https://opensearch.org/"
	}
	answer(w, http.StatusOK, object{"name": "faulty", "cluster_name": "faulty", "version": version, "tagline": tagline})
}

// pit opens and closes points in time, which are not held: nothing changes below a search of a test.
func (f *Faulty) pit(w http.ResponseWriter, method string) {
	name := map[Flavor]string{AsElasticsearch: "id", AsOpenSearch: "pit_id"}[f.Flavor]
	if method == http.MethodDelete {
		answer(w, http.StatusOK, object{"succeeded": true, "num_freed": 1})
		return
	}
	answer(w, http.StatusOK, object{name: "pit"})
}

func (f *Faulty) get(w http.ResponseWriter, index, id string) {
	d := f.store.get(index, id)
	if d == nil {
		answer(w, http.StatusNotFound, object{"_index": index, "_id": id, "found": false})
		return
	}
	answer(w, http.StatusOK, d.hit())
}

type object = map[string]any

func answer(w http.ResponseWriter, status int, body object) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client may have gone
}

func fail(w http.ResponseWriter, status int, kind, reason string) {
	answer(w, status, object{"status": status, "error": errorOf(kind, reason)})
}

func errorOf(kind, reason string) object { return object{"type": kind, "reason": reason} }

// An Exchange is a bulk request that waits for its answer.
type Exchange struct {
	Items []item
	f     *Faulty
	w     http.ResponseWriter
	r     *http.Request
}

// apply does what items ask for, except those that refuse gives a result.
func (x *Exchange) apply(refuse func(i int) object) object {
	x.f.mu.Lock()
	defer x.f.mu.Unlock()
	items, failed := []any{}, false
	for i := range x.Items {
		result := object(nil)
		if refuse != nil {
			result = refuse(i)
		}
		if result == nil {
			result = x.f.store.apply(&x.Items[i])
		}
		failed = failed || result["error"] != nil
		items = append(items, object{x.Items[i].action: result})
	}
	return object{"took": 1, "errors": failed, "items": items}
}

// refusal is the result of an item that is not taken.
func (x *Exchange) refusal(i, status int, kind, reason string) object {
	it := &x.Items[i]
	return object{"_index": it.index, "_id": it.id, "status": status, "error": errorOf(kind, reason)}
}

// cut sends the headers for a whole answer and a part of it, and breaks the connection.
func (x *Exchange) cut(body string, keep int) {
	x.w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	_, _ = io.WriteString(x.w, body[:keep])
	_ = http.NewResponseController(x.w).Flush()
	panic(http.ErrAbortHandler)
}

// wait waits for a while, or until the client has given up or the server is closed.
func (x *Exchange) wait(d time.Duration) (goneOn bool) {
	select {
	case <-time.After(d):
		return true
	case <-x.r.Context().Done():
		return false
	}
}
