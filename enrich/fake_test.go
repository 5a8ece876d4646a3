package enrich

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"iocpipe/sinks/elastic"
)

// A fake is a server in memory that has one index, "i", and faults. What it must never be sent is an error of the test.
type fake struct {
	t testing.TB

	mu        sync.Mutex
	documents []*fakeDocument
	seqNo     int64
	pits      map[string]bool
	lastPIT   int
	requests  map[string]int // by the last part of the path
	busiest   int            // bulk requests at once
	running   int

	settings, mappings string
	noPIT              bool

	// before is asked about each request: it may answer it. n counts those of the same kind from 1.
	before func(kind string, n int) (*elastic.Response, error, bool)
	// after may spoil an answer to a request that was carried out.
	after func(kind string, n int, answer []byte) ([]byte, error)
	// item is asked about each bulk item; a status of 0 lets it pass. tries counts from 1.
	item func(id string, tries int) (status int, kind string)
}

type fakeDocument struct {
	id     string
	seqNo  int64
	source string
	writes int
	tries  int
}

func newFake(t testing.TB, sources ...string) *fake {
	f := &fake{t: t, pits: make(map[string]bool), requests: make(map[string]int), settings: `{"uuid":"u1","number_of_shards":"1"}`,
		mappings: `{"properties":{"message":{"type":"text"},"threat":{"properties":{"enrichments":{"type":"nested"}}}}}`}
	for i, s := range sources {
		f.documents = append(f.documents, &fakeDocument{id: fmt.Sprint(i), seqNo: int64(i), source: s})
	}
	f.seqNo = int64(len(sources))
	return f
}

func (f *fake) Flavor(context.Context) (elastic.Flavor, string, error) {
	return elastic.Elasticsearch, "8.15.5", nil
}

func (f *fake) Prepare(context.Context, string) (elastic.Mapping, string, error) {
	return elastic.Nested, "", nil
}

func (f *fake) Do(ctx context.Context, method, path string, _ url.Values, body []byte) (*elastic.Response, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	kind := path[strings.LastIndexByte(path, '/')+1:]
	if method == http.MethodDelete {
		kind = "close"
	}
	f.requests[kind]++
	n := f.requests[kind]
	if f.before != nil {
		if answer, err, done := f.before(kind, n); done {
			return answer, err
		}
	}
	if kind == "_bulk" {
		f.running++
		f.busiest = max(f.busiest, f.running)
		f.mu.Unlock() // others may come meanwhile
		f.mu.Lock()
		f.running--
	}
	answer := f.answer(kind, body)
	if f.after != nil && answer.Status == http.StatusOK {
		var err error
		if answer.Body, err = f.after(kind, n, answer.Body); err != nil {
			return nil, err
		}
	}
	return answer, nil
}

// sent returns how many requests of a kind were sent.
func (f *fake) sent(kind string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.requests[kind]
}

func ok(format string, args ...any) *elastic.Response {
	return &elastic.Response{Status: http.StatusOK, Header: make(http.Header), Body: fmt.Appendf(nil, format, args...)}
}

func failed(status int, kind string) *elastic.Response {
	return &elastic.Response{Status: status, Header: make(http.Header), Body: fmt.Appendf(nil, `{"error":{"type":%q,"reason":"because"},"status":%d}`, kind, status)}
}

func (f *fake) answer(kind string, body []byte) *elastic.Response {
	switch kind {
	case "i":
		return ok(`{"i":{"mappings":%s,"settings":{"index":%s}}}`, f.mappings, f.settings)
	case "_count":
		return ok(`{"count":%d}`, len(f.documents))
	case "_pit":
		if f.noPIT {
			return failed(http.StatusMethodNotAllowed, "")
		}
		f.lastPIT++
		id := fmt.Sprint("pit", f.lastPIT)
		f.pits[id] = true
		return ok(`{"id":%q}`, id)
	case "close", "_refresh", "docs":
		return ok(`{}`)
	case "_search", "scroll":
		return f.search(body)
	case "_mget":
		return f.get(body)
	case "_bulk":
		return f.bulk(body)
	}
	f.t.Errorf("request %s", kind)
	return failed(http.StatusNotFound, "no_such_thing")
}

func (f *fake) search(body []byte) *elastic.Response {
	var r struct {
		Size   int
		PIT    struct{ ID string }
		After  []int64 `json:"search_after"`
		Scroll string  `json:"scroll_id"`
		Aggs   json.RawMessage
	}
	if err := json.Unmarshal(body, &r); err != nil {
		f.t.Errorf("%v: %s", err, body)
	}
	from := int64(-1)
	switch {
	case len(r.Aggs) > 0:
		return failed(http.StatusBadRequest, "parsing_exception")
	case r.Scroll != "":
		_, _ = fmt.Sscan(r.Scroll, &from)
		r.Size = 100
	case len(r.After) > 0:
		from = r.After[0]
	}
	if r.PIT.ID != "" && !f.pits[r.PIT.ID] {
		return failed(http.StatusNotFound, "search_context_missing_exception")
	}
	found := slices.DeleteFunc(slices.Clone(f.documents), func(d *fakeDocument) bool { return d.seqNo <= from })
	slices.SortFunc(found, func(a, b *fakeDocument) int { return cmp.Compare(a.seqNo, b.seqNo) })
	var hits []string
	for _, d := range found[:min(len(found), min(r.Size, 100))] {
		hits = append(hits, fmt.Sprintf(`{"_index":"i","_id":%q,"_seq_no":%d,"_primary_term":1,"_source":%s,"sort":[%d]}`, d.id, d.seqNo, d.source, d.seqNo))
		from = d.seqNo
	}
	return ok(`{"pit_id":%q,"_scroll_id":"%d","hits":{"hits":[%s]}}`, r.PIT.ID, from, strings.Join(hits, ","))
}

func (f *fake) find(id string) *fakeDocument {
	for _, d := range f.documents {
		if d.id == id {
			return d
		}
	}
	return nil
}

func (f *fake) get(body []byte) *elastic.Response {
	var r struct {
		Docs []struct {
			ID string `json:"_id"`
		}
	}
	if err := json.Unmarshal(body, &r); err != nil {
		f.t.Errorf("%v: %s", err, body)
	}
	var docs []string
	for _, want := range r.Docs {
		d := f.find(want.ID)
		if d == nil {
			docs = append(docs, `{"found":false}`)
			continue
		}
		docs = append(docs, fmt.Sprintf(`{"_index":"i","_id":%q,"found":true,"_seq_no":%d,"_primary_term":1,"_source":%s}`, d.id, d.seqNo, d.source))
	}
	return ok(`{"docs":[%s]}`, strings.Join(docs, ","))
}

// bulk carries out updates as a server does.
func (f *fake) bulk(body []byte) *elastic.Response {
	lines := bytes.Split(bytes.TrimSuffix(body, []byte("\n")), []byte("\n"))
	var items []string
	for i := 0; i+1 < len(lines); i += 2 {
		var action map[string]struct {
			Index string `json:"_index"`
			ID    string `json:"_id"`
			SeqNo *int64 `json:"if_seq_no"`
			Term  int64  `json:"if_primary_term"`
		}
		var part struct{ Doc json.RawMessage }
		if err := errors.Join(json.Unmarshal(lines[i], &action), json.Unmarshal(lines[i+1], &part)); err != nil {
			f.t.Errorf("%v: %s", err, lines[i:i+2])
		}
		a, known := action["update"]
		if !known || a.SeqNo == nil || a.Term != 1 || a.Index != "i" {
			f.t.Errorf("an action that no job sends: %s", lines[i])
			continue
		}
		items = append(items, f.update(a.ID, *a.SeqNo, part.Doc))
	}
	return ok(`{"items":[%s]}`, strings.Join(items, ","))
}

func (f *fake) update(id string, seqNo int64, doc json.RawMessage) string {
	d := f.find(id)
	if d == nil {
		return `{"update":{"status":404,"error":{"type":"document_missing_exception","reason":"gone"}}}`
	}
	d.tries++
	if f.item != nil {
		if status, kind := f.item(id, d.tries); status != 0 {
			return fmt.Sprintf(`{"update":{"status":%d,"error":{"type":%q,"reason":"because"}}}`, status, kind)
		}
	}
	if d.seqNo != seqNo {
		return `{"update":{"status":409,"error":{"type":"version_conflict_engine_exception","reason":"newer"}}}`
	}
	d.source = mergeJSON(f.t, d.source, doc)
	d.seqNo, f.seqNo, d.writes = f.seqNo, f.seqNo+1, d.writes+1
	return `{"update":{"status":200,"result":"updated"}}`
}

// mergeJSON merges as the server does.
func mergeJSON(t testing.TB, source string, doc []byte) string {
	var a, b map[string]any
	if err := errors.Join(json.Unmarshal([]byte(source), &a), json.Unmarshal(doc, &b)); err != nil {
		t.Error(err)
	}
	var merge func(a, b map[string]any)
	merge = func(a, b map[string]any) {
		for name, value := range b {
			x, isA := a[name].(map[string]any)
			y, isB := value.(map[string]any)
			if isA && isB {
				merge(x, y)
			} else {
				a[name] = value
			}
		}
	}
	merge(a, b)
	merged, err := json.Marshal(a)
	if err != nil {
		t.Error(err)
	}
	return string(merged)
}
