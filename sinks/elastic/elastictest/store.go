package elastictest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"reflect"
	"strings"
)

// A store holds documents by index and ID.
type store struct {
	indices map[string]map[string]*document
	seq     int
}

type document struct {
	index, id    string
	seq, version int
	source       json.RawMessage
	parsed       object
}

func newStore() store { return store{indices: map[string]map[string]*document{}} }

func isStream(name string) bool { return strings.HasPrefix(name, "logs-") }

// writeIndex is where what is written under a name goes: for a data stream, its backing index.
func (s *store) writeIndex(name string) string {
	if isStream(name) {
		return ".ds-" + name + "-000001"
	}
	return name
}

// matching returns the documents that names, which may be patterns, stand for, in the order in which they came.
func (s *store) matching(names []string) (found []*document) {
	for index, documents := range s.indices {
		for _, name := range names {
			if ok, _ := path.Match(s.writeIndex(name), index); ok || name == "_search" || name == "" {
				for _, d := range documents {
					found = append(found, d)
				}
				break
			}
		}
	}
	sortBy(found, func(a, b *document) int { return a.seq - b.seq })
	return found
}

func (s *store) sources() (all []string) {
	for _, d := range s.matching([]string{""}) {
		all = append(all, string(d.source))
	}
	return all
}

func (s *store) get(index, id string) *document { return s.indices[s.writeIndex(index)][id] }

func (s *store) put(index, id string, source json.RawMessage) *document {
	s.seq++
	d := &document{index: index, id: id, seq: s.seq, version: 1, source: source}
	if err := json.Unmarshal(source, &d.parsed); err != nil {
		return nil
	}
	if s.indices[index] == nil {
		s.indices[index] = map[string]*document{}
	}
	if old := s.indices[index][id]; old != nil {
		d.version = old.version + 1
	}
	s.indices[index][id] = d
	return d
}

// An item is one action of a bulk request.
type item struct {
	action, index, id string
	ifSeq             *int
	source            json.RawMessage
}

func parseItems(index string, body []byte) (items []item, err error) {
	if !bytes.HasSuffix(body, []byte("\n")) {
		return nil, errors.New("the bulk request must be terminated by a newline [\\n]")
	}
	for in := bufio.NewReader(bytes.NewReader(body)); ; {
		line, err := in.ReadBytes('\n')
		if err == io.EOF {
			return items, nil
		}
		var head map[string]struct {
			Index string `json:"_index"`
			ID    string `json:"_id"`
			IfSeq *int   `json:"if_seq_no"`
		}
		if err := json.Unmarshal(line, &head); err != nil || len(head) != 1 {
			return nil, fmt.Errorf("malformed action/metadata line [%d]: %.80q", 2*len(items)+1, line)
		}
		it := item{index: index}
		for action, to := range head {
			it.action, it.id, it.ifSeq = action, to.ID, to.IfSeq
			if to.Index != "" {
				it.index = to.Index
			}
		}
		if it.source, err = in.ReadBytes('\n'); err != nil {
			return nil, errors.New("the last action has no document")
		}
		it.source = bytes.TrimSuffix(it.source, []byte("\n"))
		items = append(items, it)
	}
}

// apply does what an item asks for, and returns its result.
func (s *store) apply(it *item) object {
	result := object{"_index": it.index, "_id": it.id}
	refuse := func(status int, kind, reason string) object {
		result["status"], result["error"] = status, errorOf(kind, reason)
		return result
	}
	if isStream(it.index) && it.action != "create" {
		return refuse(400, "illegal_argument_exception", "only write ops with an op_type of create are allowed in data streams")
	}
	index := s.writeIndex(it.index)
	old := s.indices[index][it.id]
	switch {
	case it.action == "create" && old != nil:
		return refuse(409, "version_conflict_engine_exception", "["+it.id+"]: version conflict, document already exists")
	case it.action == "update" && old == nil:
		return refuse(404, "document_missing_exception", "["+it.id+"]: document missing")
	case it.ifSeq != nil && (old == nil || old.seq != *it.ifSeq):
		return refuse(409, "version_conflict_engine_exception", "["+it.id+"]: version conflict, required seqNo differs")
	}
	source := it.source
	if it.action == "update" {
		merged, changed, err := update(old, source)
		if err != nil {
			return refuse(400, "x_content_parse_exception", err.Error())
		}
		if !changed {
			result["status"], result["result"] = 200, "noop"
			return result
		}
		source = merged
	}
	if it.id == "" {
		it.id = fmt.Sprintf("auto-%d", s.seq+1)
	}
	d := s.put(index, it.id, source)
	if d == nil {
		return refuse(400, "document_parsing_exception", "[1:1] failed to parse")
	}
	maps.Copy(result, object{"_index": index, "_id": it.id, "_seq_no": d.seq, "_primary_term": 1, "_version": d.version, "status": 201, "result": "created"})
	if d.version > 1 {
		result["status"], result["result"] = 200, "updated"
	}
	return result
}

// update merges a partial document.
func update(d *document, body json.RawMessage) (merged json.RawMessage, changed bool, err error) {
	var request struct{ Doc object }
	if err := json.Unmarshal(body, &request); err != nil || request.Doc == nil {
		return nil, false, errors.New("an update wants a doc")
	}
	var before object
	if err := json.Unmarshal(d.source, &before); err != nil {
		return nil, false, err
	}
	merge(before, request.Doc)
	if reflect.DeepEqual(before, d.parsed) {
		return nil, false, nil
	}
	merged, err = json.Marshal(before)
	return merged, true, err
}

// merge writes changes into an object: objects are merged, everything else is replaced.
func merge(into, changes object) {
	for name, change := range changes {
		inner, ok := change.(object)
		if old, both := into[name].(object); ok && both {
			merge(old, inner)
			continue
		}
		into[name] = change
	}
}

func (s *store) mget(index string, body []byte) object {
	var request struct {
		Docs []struct {
			Index string `json:"_index"`
			ID    string `json:"_id"`
		}
	}
	_ = json.Unmarshal(body, &request) // what is not read is not found
	docs := []any{}
	for _, wanted := range request.Docs {
		if wanted.Index == "" {
			wanted.Index = index
		}
		if d := s.get(wanted.Index, wanted.ID); d != nil {
			docs = append(docs, d.hit())
		} else {
			docs = append(docs, object{"_index": wanted.Index, "_id": wanted.ID, "found": false})
		}
	}
	return object{"docs": docs}
}

func (d *document) hit() object {
	return object{"_index": d.index, "_id": d.id, "_seq_no": d.seq, "_primary_term": 1, "_version": d.version, "found": true, "_source": d.source}
}
