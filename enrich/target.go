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
	"strings"

	"iocpipe/sinks/elastic"
)

// A Target is one index of a job.
type Target struct {
	Index, UUID string
	Documents   int64  // those that match the query; set by Discover
	Refused     string // why it is not touched, or no further; empty otherwise
	Flat        bool   // gets only iocpipe.*: threat.enrichments is mapped as something that cannot hold entries

	shards     int
	timed      bool // @timestamp is mapped as a date
	unprepared bool // its mapping lacks something, or has not been compared
	fields     []field
	scanned    bool // has fields whose values only its documents tell
	empty      bool // has no such fields
	found      []occurrence
	narrow     bool // only documents with something of found are to be read
	progress   *indexProgress
}

// A field is one that is looked into.
type field struct {
	name  string
	terms string // by which its values can be counted; empty when they cannot
	above int    // longer values are not counted; 0 for none
}

// settings are those of an index that decide whether it can be written.
type settings struct {
	UUID   string `json:"uuid"`
	Shards string `json:"number_of_shards"`
	Mode   string `json:"mode"`
	Closed string `json:"verified_before_close"`
	Frozen string `json:"frozen"`
	Store  struct {
		Type string `json:"type"`
	} `json:"store"`
	Mapping struct {
		Source struct {
			Mode string `json:"mode"`
		} `json:"source"`
	} `json:"mapping"`
	Blocks struct {
		Write    string `json:"write"`
		ReadOnly string `json:"read_only"`
	} `json:"blocks"`
}

// resolve returns the indices behind the name of the job.
func (j *Job) resolve(ctx context.Context) ([]*Target, error) {
	for name := range strings.SplitSeq(j.Index, ",") {
		if strings.Contains(name, ":") {
			return nil, fmt.Errorf("%s: an index of another cluster cannot be written through this one: name that cluster as the server", name)
		}
	}
	if j.Index == "" {
		return nil, errors.New("name an index")
	}
	var err error
	if j.flavor, _, err = j.server.Flavor(ctx); err != nil {
		return nil, err
	}
	query := url.Values{"expand_wildcards": {"open,closed"}, "ignore_unavailable": {"false"}}
	body, err := j.server.do(ctx, http.MethodGet, "/"+escapeList(j.Index), query, nil)
	if err != nil {
		return nil, fmt.Errorf("index %s: %w", j.Index, err)
	}
	var found map[string]struct {
		Mappings mapping
		Settings struct{ Index settings }
	}
	if err := json.Unmarshal(body, &found); err != nil {
		return nil, fmt.Errorf("index %s: %w: %v", j.Index, elastic.ErrMalformed, err)
	}
	var targets []*Target
	for name, index := range found {
		targets = append(targets, j.newTarget(name, index.Mappings, index.Settings.Index))
	}
	if len(targets) == 0 {
		return nil, fmt.Errorf("index %s: there is none", j.Index)
	}
	slices.SortFunc(targets, func(a, b *Target) int { return strings.Compare(a.Index, b.Index) })
	j.tellMerged(ctx, targets)
	return targets, nil
}

// tellMerged says which indices were force-merged, as those that are not written to any more often are: their large segments
// take up what is updated in them until they are merged again, which may be never. The commit of a shard tells.
func (j *Job) tellMerged(ctx context.Context, targets []*Target) {
	query := url.Values{"level": {"shards"}, "expand_wildcards": {"open"}, "forbid_closed_indices": {"false"},
		"filter_path": {"indices.*.shards.*.commit.user_data.force_merge_uuid"}}
	body, err := j.server.do(ctx, http.MethodGet, "/"+escapeList(j.Index)+"/_stats/docs", query, nil)
	if err != nil {
		return // it needs a right of its own (monitor)
	}
	var merged struct{ Indices map[string]json.RawMessage }
	_ = json.Unmarshal(body, &merged) // what is none names none
	for _, t := range targets {
		if _, ok := merged.Indices[t.Index]; ok && t.Refused == "" && !t.empty {
			j.notef("%s: it was force-merged: what is updated in it takes more disk until it is merged again (POST /%s/_forcemerge)", t.Index, t.Index)
		}
	}
}

// escapeList escapes names for a path, but for the commas between them.
func escapeList(names string) string { return strings.ReplaceAll(url.PathEscape(names), "%2C", ",") }

func (j *Job) newTarget(name string, m mapping, s settings) *Target {
	t := &Target{Index: name, UUID: s.UUID, timed: m.isTimed(), Refused: refusal(m, s), unprepared: true}
	t.shards, _ = strconv.Atoi(s.Shards)
	t.shards = max(t.shards, 1)
	if kind, mapped := m.enrichments(); mapped && kind != "nested" {
		t.Flat = true
		if t.Refused == "" {
			j.notef("%s: threat.enrichments is mapped as %s, not nested, which cannot be changed: only iocpipe.* and related.* are written", name, kind)
		}
	}
	if t.Refused == "" && s.isSynthetic(m) {
		j.notef("%s: its _source is made up from its fields: arrays of an updated document may come back in another order, or without doubles", name)
	}
	t.fields, t.scanned = m.lookedInto(&j.Options)
	if j.flavor == elastic.OpenSearch {
		t.scanned = t.scanned || slices.ContainsFunc(t.fields, func(f field) bool { return 0 < f.above && f.above < longEnough })
	}
	t.empty = len(t.fields) == 0 && !t.scanned
	return t
}

// isSynthetic reports whether documents are made up from their fields when they are read.
func (s settings) isSynthetic(m mapping) bool {
	if s.Mapping.Source.Mode != "" {
		return s.Mapping.Source.Mode == "synthetic"
	}
	return m.Source.Mode == "synthetic" || s.Mode == "logsdb"
}

// longEnough is how long values may be, in characters, of which a field holds all for sure. Elasticsearch tells when it has
// left out longer ones, OpenSearch does not.
const longEnough = 1024

// refusal says why an index cannot be written; it is empty when it can.
func refusal(m mapping, s settings) string {
	switch {
	case s.Closed == "true":
		return "it is closed"
	case s.Store.Type == "snapshot":
		return "it is a searchable snapshot, which cannot be written"
	case s.Frozen == "true":
		return "it is frozen"
	case s.Mode == "time_series":
		return "it is a time series (index.mode), whose documents cannot be updated"
	case s.Blocks.Write == "true":
		return "it is blocked for writing (index.blocks.write)"
	case s.Blocks.ReadOnly == "true":
		return "it is read-only (index.blocks.read_only)"
	case m.Source.Enabled != nil && !*m.Source.Enabled:
		return "its _source is disabled: there is nothing to read"
	case m.isStrict() && !m.holds("related", "ip"):
		return "its mapping is strict and has no related.ip, related.hosts and related.hash: add them first"
	}
	return ""
}

// prepare adds to the mapping of t what is lacking, before the first document is written.
func (j *Job) prepare(ctx context.Context, t *Target) error {
	if !t.unprepared || t.Flat {
		return nil
	}
	m, note, err := j.server.Prepare(ctx, t.Index)
	switch {
	case err != nil:
		return fmt.Errorf("index %s: its mapping: %w", t.Index, err)
	case m == elastic.Flat:
		t.Refused = note // it had no threat.enrichments when it was opened
	case note != "":
		j.Note(note)
	}
	t.unprepared = false
	return nil
}
