package enrich

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"golang.org/x/sync/errgroup"

	"iocpipe/sinks/elastic"
)

const (
	// Documents that are read at once: at first, at most, and in bytes, about.
	firstPage, pageSize = 125, 1000
	maxPage             = 8 << 20

	keepFor = "3m" // how long the server keeps a reading open without being asked
)

// A hit is a document as it was read.
type hit struct {
	Index       string          `json:"_index"`
	ID          string          `json:"_id"`
	Routing     string          `json:"_routing"`
	SeqNo       *int64          `json:"_seq_no"`
	PrimaryTerm int64           `json:"_primary_term"`
	Source      json.RawMessage `json:"_source"`
	Sort        json.RawMessage `json:"sort"`
	Found       bool            `json:"found"` // of an answer to _mget
}

// A page is the answer to a search.
type page struct {
	PIT      string `json:"pit_id"`
	Scroll   string `json:"_scroll_id"`
	TimedOut bool   `json:"timed_out"`
	Shards   struct {
		Failed int `json:"failed"`
	} `json:"_shards"`
	Hits struct {
		Hits []hit `json:"hits"`
	} `json:"hits"`
}

// errContext says that the server has lost what it kept open for a reading.
var errContext = errors.New("the server has lost the search context")

// A reading reads all documents of an index that match a query: shard by shard, several at once, each at a point in time and
// in the order of its sequence numbers. Within a shard these are unique, so no two documents share a place in the order; a
// tiebreaker over all shards is something that not every server has, and @timestamp alone would lose documents between pages.
// (It comes to the same as a slice for each shard, which needs such a tiebreaker where slices and shards are not the same.)
// What has no points in time (Elasticsearch before 7.10, OpenSearch before 2.4) is read by scroll.
type reading struct {
	server  server
	target  *Target
	query   json.RawMessage
	source  any // the value of _source
	flavor  elastic.Flavor
	size    int
	readers int // shards at once, at most
}

// each calls f with the documents, a page at a time, on several goroutines.
func (r *reading) each(ctx context.Context, f func([]hit) error) error {
	g, inside := errgroup.WithContext(ctx)
	g.SetLimit(r.readers)
	for number := range r.target.shards {
		shard := *r
		g.Go(func() error { return shard.shard(inside, number, f) })
	}
	err := g.Wait()
	if status := statusOf(err); status == http.StatusNotFound && errors.Is(err, errOpen) || status == http.StatusMethodNotAllowed {
		return r.scroll(ctx, f)
	}
	return err
}

// errOpen is joined to the error of a reading that could not begin.
var errOpen = errors.New("no point in time")

// pit is how a flavor spells its points in time.
func (r *reading) pit() (path, member, closeMember string) {
	if r.flavor == elastic.OpenSearch {
		return "/_search/point_in_time", "pit_id", "pit_id"
	}
	return "/_pit", "id", "id"
}

func (r *reading) shard(ctx context.Context, shard int, f func([]hit) error) error {
	id, err := r.open(ctx, shard)
	if err != nil {
		return err
	}
	defer func() { r.close(context.WithoutCancel(ctx), id) }()
	var after json.RawMessage
	for {
		p, err := r.search(ctx, "/_search", map[string]any{
			"size": r.size, "track_total_hits": false, "seq_no_primary_term": true, "query": r.query, "_source": r.source,
			"pit": map[string]string{"id": id, "keep_alive": keepFor}, "sort": []any{map[string]string{"_seq_no": "asc"}},
			"search_after": after,
		})
		if err != nil {
			return err
		}
		if p.PIT != "" {
			id = p.PIT
		}
		n := len(p.Hits.Hits)
		if n == 0 {
			return nil
		}
		after = slices.Clone(p.Hits.Hits[n-1].Sort)
		if err := f(p.Hits.Hits); err != nil {
			return err
		}
	}
}

// open opens a point in time of one shard.
func (r *reading) open(ctx context.Context, shard int) (id string, err error) {
	query := url.Values{"keep_alive": {keepFor}}
	if r.target.shards > 1 {
		query.Set("preference", "_shards:"+strconv.Itoa(shard))
	}
	path, member, _ := r.pit()
	body, err := r.server.do(ctx, http.MethodPost, "/"+url.PathEscape(r.target.Index)+path, query, nil)
	if err != nil {
		if status := statusOf(err); status == http.StatusBadRequest || status == http.StatusNotFound {
			err = errors.Join(errOpen, err)
		}
		return "", err
	}
	var answer map[string]json.RawMessage
	err = json.Unmarshal(body, &answer)
	if err == nil {
		err = json.Unmarshal(answer[member], &id)
	}
	if err != nil {
		return "", fmt.Errorf("%w: point in time: %v", elastic.ErrMalformed, err)
	}
	return id, nil
}

// close frees a point in time; the server does so by itself after a while.
func (r *reading) close(ctx context.Context, id string) {
	path, _, member := r.pit()
	var body []byte
	if r.flavor == elastic.OpenSearch {
		body, _ = json.Marshal(map[string][]string{member: {id}})
	} else {
		body, _ = json.Marshal(map[string]string{member: id})
	}
	_, _ = r.server.Do(ctx, http.MethodDelete, path, nil, body)
}

// search asks for one page. A page that lacks the documents of a shard is none.
func (r *reading) search(ctx context.Context, path string, request map[string]any) (p page, err error) {
	if request["search_after"] == nil || len(request["search_after"].(json.RawMessage)) == 0 {
		delete(request, "search_after")
	}
	if len(r.query) == 0 {
		delete(request, "query")
	}
	query := url.Values{"allow_partial_search_results": {"false"}}
	if path != "/_search" {
		query = url.Values{"scroll": {keepFor}}
	}
	return r.page(ctx, path, query, request)
}

func (r *reading) page(ctx context.Context, path string, query url.Values, request map[string]any) (p page, err error) {
	body, err := json.Marshal(request)
	if err != nil {
		return p, err
	}
	answer, err := r.server.do(ctx, http.MethodPost, path, query, body)
	if statusOf(err) == http.StatusNotFound {
		return p, errors.Join(errContext, err)
	}
	if err != nil {
		return p, err
	}
	if err := json.Unmarshal(answer, &p); err != nil {
		return p, fmt.Errorf("%w: %v", elastic.ErrMalformed, err)
	}
	if p.TimedOut || p.Shards.Failed > 0 {
		return p, fmt.Errorf("index %s: the server searched only a part of it (%d shards failed)", r.target.Index, p.Shards.Failed)
	}
	r.adapt(answer, len(p.Hits.Hits))
	return p, nil
}

// adapt keeps pages of large documents small, and makes those of small ones large.
func (r *reading) adapt(answer []byte, n int) {
	switch {
	case len(answer) > maxPage && n > 1:
		r.size = max(1, n*maxPage/len(answer))
	case n == r.size && len(answer) < maxPage/4:
		r.size = min(2*r.size, pageSize)
	}
}

// scroll reads all shards by scroll.
func (r *reading) scroll(ctx context.Context, f func([]hit) error) error {
	p, err := r.search(ctx, "/"+url.PathEscape(r.target.Index)+"/_search", map[string]any{
		"size": r.size, "seq_no_primary_term": true, "query": r.query, "_source": r.source, "sort": []string{"_doc"},
	})
	for err == nil && len(p.Hits.Hits) > 0 {
		if err = f(p.Hits.Hits); err == nil {
			p, err = r.page(ctx, "/_search/scroll", nil, map[string]any{"scroll": keepFor, "scroll_id": p.Scroll})
		}
	}
	if p.Scroll != "" {
		body, _ := json.Marshal(map[string][]string{"scroll_id": {p.Scroll}})
		_, _ = r.server.Do(context.WithoutCancel(ctx), http.MethodDelete, "/_search/scroll", nil, body)
	}
	return err
}
