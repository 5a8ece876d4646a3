package filter

import (
	"bytes"
	"io"
	"slices"
	"strconv"
	"sync"

	"iocpipe/extract"
	"iocpipe/filter/annotate"
)

// An Extraction is a Worker whose lines tell what indicators the lines that came in hold: one JSON object for each
// line that has some, or, with Count, nothing until the end.
type Extraction struct {
	Scanner extract.Scanner
	Policy  extract.Policy
	All     bool // also write lines without indicators
	Private bool // also write indicators that are not worth asking about
	File    bool // write the name of the input
	Count   *Counts

	matches []extract.Match
}

// Process appends the JSON lines of b's lines.
func (e *Extraction) Process(dst []byte, b *Block) []byte {
	if b.Long {
		return e.long(dst, b)
	}
	n := b.Line
	for rest := b.Data; len(rest) > 0; n++ {
		var line []byte
		line, _, rest = cutLine(rest)
		e.matches = e.wanted(e.Scanner.Append(e.matches[:0], line))
		switch {
		case e.Count != nil:
			e.Count.add(e.matches)
		case e.All || len(e.matches) > 0:
			dst = e.appendLine(dst, b.Name, n, line)
		}
	}
	return dst
}

// long stands for a line over the limit, which is not looked into.
func (e *Extraction) long(dst []byte, b *Block) []byte {
	e.matches = e.matches[:0]
	if b.First && e.All && e.Count == nil {
		dst = e.appendLine(dst, b.Name, b.Line, nil)
	}
	return dst
}

// wanted returns those of the matches that are worth asking about, or all with Private.
func (e *Extraction) wanted(matches []extract.Match) []extract.Match {
	if e.Private {
		return matches
	}
	n := 0
	for i := range matches {
		if e.Policy.Skip(matches[i].Key) != extract.Worth {
			continue
		}
		if n < i {
			matches[n] = matches[i]
		}
		n++
	}
	return matches[:n]
}

func (e *Extraction) appendLine(dst []byte, name string, n int64, line []byte) []byte {
	dst = append(dst, '{')
	if e.File {
		dst = append(dst, `"file":`...)
		dst = append(annotate.AppendString(dst, name), ',')
	}
	dst = append(dst, `"line":`...)
	dst = strconv.AppendInt(dst, n, 10)
	dst = append(dst, `,"indicators":[`...)
	for i, m := range e.matches {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendMatch(dst, m, line)
	}
	return append(dst, "]}\n"...)
}

func appendMatch(dst []byte, m extract.Match, line []byte) []byte {
	dst = append(dst, openings[m.Type]...)
	from := len(dst)
	dst = appendValue(dst, m.Key)
	value := dst[from:]
	dst = append(dst, `,"raw":`...)
	if raw := line[m.Start:m.End]; string(raw) == m.Value {
		dst = append(dst, value...) // most values stand in the line as they are
	} else {
		dst = annotate.AppendString(dst, raw)
	}
	dst = append(dst, `,"offset":`...)
	dst = strconv.AppendInt(dst, int64(m.Start), 10)
	if m.Field != "" {
		dst = append(dst, `,"field":`...)
		dst = annotate.AppendString(dst, m.Field)
	}
	return append(dst, '}')
}

// appendValue appends key's value as a JSON string. Those of most types consist of letters, digits and what needs no escape.
func appendValue(dst []byte, key extract.Key) []byte {
	if key.Type == extract.Email || key.Type == extract.Antivirus {
		return annotate.AppendString(dst, key.Value)
	}
	dst = append(dst, '"')
	dst = append(dst, key.Value...)
	return append(dst, '"')
}

// openings are the beginnings of a match's object, by type.
var openings = func() (t [extract.Antivirus + 1]string) {
	for typ := range t {
		t[typ] = `{"type":"` + extract.Type(typ).String() + `","value":`
	}
	return t
}()

// cutLine returns the first line of data without its ending, the ending, and what follows.
func cutLine(data []byte) (line, ending, rest []byte) {
	end := bytes.IndexByte(data, '\n')
	if end < 0 {
		return data, nil, nil
	}
	stop := end
	if stop > 0 && data[stop-1] == '\r' {
		stop--
	}
	return data[:stop], data[stop : end+1], data[end+1:]
}

// Counts tells how often each indicator occurred. It is safe for use by several goroutines.
type Counts struct {
	mu    sync.Mutex
	index map[extract.Key]int
	order []counted // in the order of the first sighting, as far as blocks are handled in order
}

type counted struct {
	key extract.Key
	n   int64
}

func (c *Counts) add(matches []extract.Match) {
	if len(matches) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.index == nil {
		c.index = make(map[extract.Key]int)
	}
	for _, m := range matches {
		i, ok := c.index[m.Key]
		if !ok {
			i = len(c.order)
			key := m.Key.Clone()
			c.index[key] = i
			c.order = append(c.order, counted{key: key})
		}
		c.order[i].n++
	}
}

// WriteTo writes a JSON line for each indicator, the most frequent first.
func (c *Counts) WriteTo(w io.Writer) (int64, error) {
	slices.SortStableFunc(c.order, func(a, b counted) int { return int(b.n - a.n) })
	var out []byte
	for _, e := range c.order {
		out = append(out, `{"type":"`...)
		out = append(out, e.key.Type.String()...)
		out = append(out, `","value":`...)
		out = annotate.AppendString(out, e.key.Value)
		out = append(out, `,"count":`...)
		out = strconv.AppendInt(out, e.n, 10)
		out = append(out, "}\n"...)
	}
	n, err := w.Write(out)
	return int64(n), err
}
