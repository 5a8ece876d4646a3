package elastictest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

func sortBy[T any](s []T, compare func(a, b T) int) { slices.SortStableFunc(s, compare) }

// A searching is as much of a search as is understood.
type searching struct {
	Query       object
	Size        *int
	SearchAfter []any `json:"search_after"`
	Sort        []any
	Aggs        map[string]struct {
		Composite *struct {
			Size    int
			Sources []map[string]struct{ Terms struct{ Field string } }
			After   map[string]any
		}
	}
	Aggregations json.RawMessage
}

// search answers a search of documents by match_all, term, terms, range, exists, ids, nested and bool, sorted, by pages, and
// a composite aggregation of one field's values.
func (s *store) search(names []string, body []byte) object {
	var q searching
	if err := json.Unmarshal(body, &q); err != nil && len(body) > 0 {
		return object{"error": errorOf("parsing_exception", err.Error()), "status": 400}
	}
	var found []*document
	for _, d := range s.matching(names) {
		if matches(d, d.parsed, q.Query) {
			found = append(found, d)
		}
	}
	result := object{"took": 1, "timed_out": false, "pit_id": "pit", "_shards": object{"total": 1, "successful": 1, "failed": 0}}
	if aggs := q.composites(found); len(aggs) > 0 {
		result["aggregations"] = aggs
	}
	result["hits"] = object{"total": object{"value": len(found), "relation": "eq"}, "hits": q.page(found)}
	return result
}

// page returns the hits of one answer.
func (q *searching) page(found []*document) []any {
	keys := q.sortKeys()
	sortBy(found, func(a, b *document) int { return compareAll(sortValues(a, keys), sortValues(b, keys)) })
	size := 10
	if q.Size != nil {
		size = *q.Size
	}
	hits := []any{}
	for _, d := range found {
		values := sortValues(d, keys)
		if len(q.SearchAfter) > 0 && compareAll(values, q.SearchAfter) <= 0 {
			continue
		}
		if len(hits) == size {
			break
		}
		hit := d.hit()
		if len(keys) > 0 {
			hit["sort"] = values
		}
		hits = append(hits, hit)
	}
	return hits
}

func (q *searching) sortKeys() (keys []string) {
	for _, s := range q.Sort {
		switch s := s.(type) {
		case string:
			keys = append(keys, s)
		case object:
			for name := range s {
				keys = append(keys, name)
			}
		}
	}
	if len(keys) > 0 && !slices.Contains(keys, "_shard_doc") {
		keys = append(keys, "_shard_doc") // the implicit tiebreaker
	}
	return keys
}

func sortValues(d *document, keys []string) (values []any) {
	for _, key := range keys {
		if key == "_shard_doc" || key == "_doc" || key == "_seq_no" {
			values = append(values, float64(d.seq))
			continue
		}
		var first any
		if all := valuesOf(d.parsed, key); len(all) > 0 {
			first = all[0]
		}
		values = append(values, first)
	}
	return values
}

func compareAll(a, b []any) int {
	for i := range min(len(a), len(b)) {
		if c := compareValues(a[i], b[i]); c != 0 {
			return c
		}
	}
	return 0
}

func compareValues(a, b any) int {
	x, isNumber := a.(float64)
	y, areNumbers := b.(float64)
	if isNumber && areNumbers {
		return cmp.Compare(x, y)
	}
	return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b))
}

// valuesOf returns the values of a dotted field, however it is spelled, those of arrays one by one.
func valuesOf(v any, field string) (values []any) {
	switch v := v.(type) {
	case []any:
		for _, inner := range v {
			values = append(values, valuesOf(inner, field)...)
		}
	case object:
		for name, inner := range v {
			if rest, ok := strings.CutPrefix(field, name+"."); ok {
				values = append(values, valuesOf(inner, rest)...)
			} else if name == field {
				values = append(values, valuesOf(inner, "")...)
			}
		}
	default:
		if field == "" && v != nil {
			values = append(values, v)
		}
	}
	return values
}

// matches reports whether a document, or a nested object of it, meets a query.
func matches(d *document, in object, query object) bool {
	for kind, inner := range query {
		parts, _ := inner.(object)
		if !matchesOne(d, in, kind, parts) {
			return false
		}
	}
	return true
}

func matchesOne(d *document, in object, kind string, q object) bool {
	switch kind {
	case "match_all":
		return true
	case "bool":
		return matchesBool(d, in, q)
	case "ids":
		list, _ := q["values"].([]any)
		return slices.Contains(list, any(d.id))
	case "exists":
		return len(valuesOf(in, fmt.Sprint(q["field"]))) > 0
	case "nested":
		return matchesNested(d, in, q)
	}
	for field, want := range q {
		if field != "boost" && !slices.ContainsFunc(valuesOf(in, field), func(v any) bool { return meets(v, kind, want) }) {
			return false
		}
	}
	return true
}

func meets(v any, kind string, want any) bool {
	switch kind {
	case "terms":
		list, _ := want.([]any)
		return slices.ContainsFunc(list, func(w any) bool { return compareValues(v, w) == 0 })
	case "range":
		return meetsRange(v, want.(object))
	}
	if o, ok := want.(object); ok {
		want = cmp.Or(o["value"], o["query"])
	}
	return compareValues(v, want) == 0
}

func meetsRange(v any, bounds object) bool {
	ok := map[string]func(int) bool{
		"gte": func(c int) bool { return c >= 0 }, "gt": func(c int) bool { return c > 0 },
		"lte": func(c int) bool { return c <= 0 }, "lt": func(c int) bool { return c < 0 },
	}
	for name, bound := range bounds {
		if check := ok[name]; check != nil && !check(compareValues(v, bound)) {
			return false
		}
	}
	return true
}

func matchesNested(d *document, in object, q object) bool {
	query, _ := q["query"].(object)
	prefix := fmt.Sprint(q["path"])
	for _, entry := range objectsAt(in, strings.Split(prefix, ".")) {
		wrapped := any(entry)
		parts := strings.Split(prefix, ".")
		for _, part := range slices.Backward(parts) {
			wrapped = object{part: wrapped}
		}
		if matches(d, wrapped.(object), query) {
			return true
		}
	}
	return false
}

func objectsAt(v any, parts []string) (found []object) {
	switch v := v.(type) {
	case []any:
		for _, inner := range v {
			found = append(found, objectsAt(inner, parts)...)
		}
	case object:
		if len(parts) == 0 {
			return []object{v}
		}
		return objectsAt(v[parts[0]], parts[1:])
	}
	return found
}

func matchesBool(d *document, in object, q object) bool {
	each := func(name string) (queries []object) {
		list, many := q[name].([]any)
		if !many && q[name] != nil {
			list = []any{q[name]}
		}
		for _, one := range list {
			inner, _ := one.(object)
			queries = append(queries, inner)
		}
		return queries
	}
	met := func(query object) bool { return matches(d, in, query) }
	for _, name := range []string{"must", "filter"} {
		if slices.ContainsFunc(each(name), func(query object) bool { return !met(query) }) {
			return false
		}
	}
	should := each("should")
	return !slices.ContainsFunc(each("must_not"), met) && (len(should) == 0 || slices.ContainsFunc(should, met))
}

// composites answers composite aggregations of one source each.
func (q *searching) composites(found []*document) object {
	if len(q.Aggs) == 0 && len(q.Aggregations) > 0 {
		_ = json.Unmarshal(q.Aggregations, &q.Aggs)
	}
	all := object{}
	for name, agg := range q.Aggs {
		if agg.Composite == nil || len(agg.Composite.Sources) != 1 {
			continue
		}
		for source, of := range agg.Composite.Sources[0] {
			all[name] = composite(found, source, of.Terms.Field, agg.Composite.After[source], max(agg.Composite.Size, 1))
		}
	}
	return all
}

func composite(found []*document, source, field string, after any, size int) object {
	counts := map[any]int{}
	for _, d := range found {
		values := valuesOf(d.parsed, field)
		sortBy(values, compareValues)
		for _, v := range slices.Compact(values) {
			counts[v]++
		}
	}
	var keys []any
	for v := range counts {
		if after == nil || compareValues(v, after) > 0 {
			keys = append(keys, v)
		}
	}
	sortBy(keys, compareValues)
	result := object{}
	buckets := []any{}
	for _, v := range keys[:min(size, len(keys))] {
		buckets = append(buckets, object{"key": object{source: v}, "doc_count": counts[v]})
		result["after_key"] = object{source: v}
	}
	result["buckets"] = buckets
	return result
}
