package elastic

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/valyala/fastjson"
)

// A Mapping is what an index, an alias or a data stream can hold of an annotation.
type Mapping uint8

// The mappings.
const (
	Nested  Mapping = iota // all of it
	Flat                   // only the summary, iocpipe.*: what stands at threat.enrichments cannot be converted
	Unknown                // it may not be read; documents are written whole
	Unfit                  // events must not be written there
)

// ourMappings returns the mappings of the component template.
func ourMappings() *fastjson.Value {
	return fastjson.MustParseBytes(embedded("component.json")).Get("template", "mappings")
}

// Prepare makes the index, alias or data stream of a name ready for annotated documents: one that does not exist is
// created, one that lacks fields gets them. What must not be done costs annotations, or the check, and is told by the
// note, as is why an index is [Unfit]. After an error of the network, or of a server that is busy, Prepare is to be called
// again; after another one, which [Final] tells, that would not help.
func (c *Client) Prepare(ctx context.Context, name string) (m Mapping, note string, err error) {
	for range 3 { // of two that create the index at once, one finds it there
		answer, err := c.Do(ctx, http.MethodGet, "/"+url.PathEscape(name), nil, nil)
		if err != nil {
			return Unknown, "", err
		}
		switch e := answer.Err(); {
		case busy(e):
			return Unknown, "", e
		case answer.Status == http.StatusNotFound:
			created, note, err := c.create(ctx, name)
			if err != nil || !created {
				return Unknown, note, err
			}
		case e != nil:
			return Unknown, fmt.Sprintf("index %s: its mapping cannot be read (%v): events are written as they are; that "+
				"threat.enrichments is nested is up to the index template", name, e), nil
		default:
			return c.inspect(ctx, name, answer.Body)
		}
	}
	return Unknown, fmt.Sprintf("index %s: it neither exists nor can be created: events are written as they are", name), nil
}

// inspect looks at what a name stands for: all its indices, with their aliases, mappings and settings.
func (c *Client) inspect(ctx context.Context, name string, body []byte) (m Mapping, note string, err error) {
	index, why, err := c.writeIndex(ctx, name, body)
	switch {
	case err != nil:
		return Unknown, "", err
	case why != "":
		return Unfit, why, nil
	case string(index.GetStringBytes("settings", "index", "mode")) == "time_series":
		return Unfit, "it is in time-series mode (index.mode), which keeps one of the events of the same time and dimensions and " +
			"drops the others: write to another index", nil
	}
	return c.extend(ctx, name, index.Get("mappings"))
}

// Remarks returns what people should know of the index that is written to by a name, beside what [Client.Prepare] does about
// it: nothing where it cannot be looked at.
func (c *Client) Remarks(ctx context.Context, name string) []string {
	answer, err := c.Do(ctx, http.MethodGet, "/"+url.PathEscape(name), nil, nil)
	if err != nil || answer.Err() != nil {
		return nil
	}
	index, why, err := c.writeIndex(ctx, name, answer.Body)
	if err != nil || why != "" {
		return nil
	}
	remarks := []string{sourceNote(name, index), c.templateNote(ctx, name, index)}
	return slices.DeleteFunc(remarks, func(r string) bool { return r == "" })
}

// sourceNote says what an index keeps of documents, if that is not what they were.
func sourceNote(name string, index *fastjson.Value) string {
	enabled := index.Get("mappings", "_source", "enabled")
	switch {
	case enabled != nil && enabled.Type() == fastjson.TypeFalse:
		return fmt.Sprintf("index %s: it keeps no _source: events can be searched there, but neither be read again nor be updated when "+
			"a verdict comes late", name)
	case isSynthetic(index):
		return fmt.Sprintf("index %s: its _source is made up from its fields (logsdb): of events that are read again arrays may come in "+
			"another order, or without doubles", name)
	}
	return ""
}

func isSynthetic(index *fastjson.Value) bool {
	set := index.Get("settings", "index")
	switch mode := string(set.GetStringBytes("mapping", "source", "mode")); {
	case mode != "":
		return mode == "synthetic"
	case string(index.GetStringBytes("mappings", "_source", "mode")) == "synthetic":
		return true
	}
	return string(set.GetStringBytes("mode")) == "logsdb"
}

// templateNote says when the index that comes after the next rollover of a data stream will lack the mapping.
// Nothing is said where templates may not be read.
func (c *Client) templateNote(ctx context.Context, name string, index *fastjson.Value) string {
	stream := string(index.GetStringBytes("data_stream"))
	if stream == "" {
		return ""
	}
	template := c.get(ctx, http.MethodGet, "/_data_stream/"+url.PathEscape(stream)).GetStringBytes("data_streams", "0", "template")
	next := c.get(ctx, http.MethodPost, "/_index_template/_simulate/"+url.PathEscape(string(template))).Get("template")
	if next == nil {
		return ""
	}
	if kind, _ := enrichmentsType(next.Get("mappings")); kind == "nested" {
		return ""
	}
	return fmt.Sprintf("index %s: its template lacks threat.enrichments: after the next rollover events may get iocpipe.* alone; add the "+
		"mapping of --es-print-templates to the template (of logs-* in Elasticsearch: to the component template logs@custom)", name)
}

// busy reports whether an answer may be another one in a while.
func busy(e error) bool {
	var answer *Error
	return errors.As(e, &answer) && answer.busy()
}

// Final reports whether an error of the client's will not go away by waiting: the server does not let one in, or is none
// that is known.
func Final(err error) bool { return verdictOf(err) >= divide }

// create creates an index, or the data stream that a template makes of the name.
func (c *Client) create(ctx context.Context, name string) (created bool, note string, err error) {
	if strings.HasPrefix(name, "<") {
		return false, "", nil // date math names another index tomorrow
	}
	body := fastjson.MustParse("{}")
	body.Set("mappings", ourMappings())
	answer, err := c.Do(ctx, http.MethodPut, "/"+url.PathEscape(name), nil, body.MarshalTo(nil))
	if err != nil {
		return false, "", err
	}
	e := answer.Err()
	var refusal *Error
	if errors.As(e, &refusal) && strings.Contains(refusal.Reason, "creates data streams only") {
		if answer, err = c.Do(ctx, http.MethodPut, "/_data_stream/"+url.PathEscape(name), nil, nil); err != nil {
			return false, "", err
		}
		e = answer.Err()
	}
	switch {
	case busy(e):
		return false, "", e
	case e == nil, errors.As(e, &refusal) && refusal.Type == "resource_already_exists_exception":
		return true, "", nil
	}
	return false, fmt.Sprintf("index %s: it is left to the server to create it (%v): that threat.enrichments is nested is up "+
		"to the index template", name, e), nil
}

// extend adds what the mapping of an existing index lacks.
func (c *Client) extend(ctx context.Context, name string, have *fastjson.Value) (m Mapping, note string, err error) {
	ours := ourMappings()
	if kind, mapped := enrichmentsType(have); mapped && kind != "nested" {
		return Flat, fmt.Sprintf("index %s: threat.enrichments is mapped as %s, not nested, which cannot be changed: only iocpipe.* is "+
			"written to it; a new index with the mapping of --es-print-templates takes all", name, kind), nil
	}
	if !lacks(have, ours) {
		return Nested, "", nil
	}
	add := fastjson.MustParse("{}")
	add.Set("properties", ours.Get("properties"))
	answer, err := c.Do(ctx, http.MethodPut, "/"+url.PathEscape(name)+"/_mapping", url.Values{"write_index_only": {"true"}}, add.MarshalTo(nil))
	if err != nil {
		return Unknown, "", err
	}
	var refusal *Error
	switch e := answer.Err(); {
	case busy(e):
		return Unknown, "", e
	case e == nil:
		return Nested, "", nil
	case errors.As(e, &refusal) && refusal.Type == "cluster_block_exception":
		return Flat, "", nil // documents meet the block, too, and tell of it
	default:
		if _, mapped := enrichmentsType(have); mapped {
			return Nested, fmt.Sprintf("index %s: fields of the annotation cannot be added to its mapping (%v); they are stored all the same", name, e), nil
		}
		return Flat, fmt.Sprintf("index %s: threat.enrichments cannot be added to its mapping (%v): only iocpipe.* is written to it", name, e), nil
	}
}

// get returns what a server answers to a request without a body; nil when that is no success.
func (c *Client) get(ctx context.Context, method, path string) *fastjson.Value {
	answer, err := c.Do(ctx, method, path, nil, nil)
	if err != nil || answer.Err() != nil {
		return nil
	}
	v, _ := fastjson.ParseBytes(answer.Body) // what is no JSON says nothing
	return v
}

// writeIndex returns which of the indices behind a name is written to, or why none is.
func (c *Client) writeIndex(ctx context.Context, name string, body []byte) (index *fastjson.Value, why string, err error) {
	all, err := fastjson.ParseBytes(body)
	if err != nil {
		return nil, "", fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	var names, streams []string
	marked := ""
	all.GetObject().Visit(func(key []byte, index *fastjson.Value) {
		names = append(names, string(key))
		if index.GetBool("aliases", name, "is_write_index") {
			marked = string(key)
		}
		if stream := string(index.GetStringBytes("data_stream")); stream != "" && !slices.Contains(streams, stream) {
			streams = append(streams, stream)
		}
	})
	switch {
	case len(names) == 0:
		return nil, "", fmt.Errorf("%w: no index", ErrMalformed)
	case marked != "":
		return all.Get(marked), "", nil
	case len(streams) == 1:
		return newestBacking(all, streams[0]), "", nil
	case len(streams) > 1:
		return c.writeStream(ctx, name, all)
	case len(names) == 1 && !all.Exists(names[0], "aliases", name, "is_write_index"):
		return all.Get(names[0]), "", nil
	}
	return nil, fmt.Sprintf("it is an alias of %s, of which none has is_write_index: set it for the one to write to", list(names)), nil
}

// writeStream finds the data stream that is written to by an alias of several.
func (c *Client) writeStream(ctx context.Context, alias string, all *fastjson.Value) (index *fastjson.Value, why string, err error) {
	answer, err := c.Do(ctx, http.MethodGet, "/_alias/"+url.PathEscape(alias), nil, nil)
	if err != nil {
		return nil, "", err
	}
	if err := answer.Err(); err != nil {
		return nil, "", err
	}
	streams, err := fastjson.ParseBytes(answer.Body)
	if err != nil {
		return nil, "", fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	var names []string
	streams.GetObject().Visit(func(name []byte, stream *fastjson.Value) {
		names = append(names, string(name))
		if stream.GetBool("aliases", alias, "is_write_index") {
			index = newestBacking(all, string(name))
		}
	})
	if index == nil {
		why = fmt.Sprintf("it is an alias of the data streams %s, of which none has is_write_index: set it for the one to write to", list(names))
	}
	return index, why, nil
}

// newestBacking returns the index that is written to of a data stream: the last, by the order of the generations. What was
// shrunk or restored has another name, and is not written to.
func newestBacking(all *fastjson.Value, stream string) (newest *fastjson.Value) {
	last := ""
	all.GetObject().Visit(func(key []byte, index *fastjson.Value) {
		name, own := strings.CutPrefix(string(key), ".ds-")
		if string(index.GetStringBytes("data_stream")) == stream && (newest == nil || own && name > last) {
			newest = index
			if own {
				last = name
			}
		}
	})
	return newest
}

// list names at most three.
func list(names []string) string {
	slices.Sort(names)
	if len(names) > 3 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:3], ", "), len(names)-3)
	}
	return strings.Join(names, ", ")
}

// enrichmentsType returns what threat.enrichments is mapped as.
func enrichmentsType(mappings *fastjson.Value) (kind string, mapped bool) {
	field := mappings
	for _, name := range []string{"threat", "enrichments"} {
		if field = field.Get("properties", name); field == nil {
			return "", false
		}
	}
	if kind = string(field.GetStringBytes("type")); kind == "" {
		kind = "object"
	}
	return kind, true
}

// lacks reports whether a mapping lacks a field of another.
func lacks(have, want *fastjson.Value) (yes bool) {
	want.GetObject("properties").Visit(func(name []byte, field *fastjson.Value) {
		mine := have.Get("properties", string(name))
		yes = yes || mine == nil || lacks(mine, field)
	})
	return yes
}
