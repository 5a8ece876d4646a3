package format

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// A record gives the fields of one row by name, whether it stands in CSV or JSON; "" for one that it does not have.
type record func(name string) string

// first returns the first of the named fields that holds something.
func (r record) first(names ...string) string {
	for _, name := range names {
		if value := r(name); value != "" {
			return value
		}
	}
	return ""
}

// field returns a field's text without the words with which feeds write that there is nothing.
func field(s string) string {
	switch s = strings.TrimSpace(s); s {
	case "None", "n/a", "-", "null", "NULL":
		return ""
	}
	return s
}

var errOpenQuote = errors.New("quote is not closed")

// maxRow bounds a row of CSV, whose quoted fields may go over several lines, in bytes.
const maxRow = 64 << 10

// A rowReader reads CSV as RFC 4180 has it and as feeds write it: blanks around fields are passed over, comments begin
// with #. A quote that is not closed costs its own line, not what follows it.
type rowReader struct {
	lines lineReader
	comma byte

	header string   // the last comment, which may name the columns
	fields []string // of the row read last
	n      int      // its first line
	ahead  []string // lines that were read for a row that did not end in them
}

// line returns the next line and its number.
func (r *rowReader) line() (string, int, error) {
	if len(r.ahead) > 0 {
		line := r.ahead[0]
		r.ahead = r.ahead[1:]
		return line, r.lines.n - len(r.ahead), nil
	}
	line, err := r.lines.next()
	if len(line) > maxRow {
		line = line[:maxRow+1]
	}
	return string(line), r.lines.n, err
}

// next reads the next row into r.fields. After an error other than those of reading the next row can be read.
func (r *rowReader) next() (err error) {
	for {
		var line string
		if line, r.n, err = r.line(); err != nil {
			return err
		}
		switch {
		case strings.TrimSpace(line) == "":
		case len(line) > maxRow:
			return errRow{errTooLong}
		case line[0] == '#':
			r.header = strings.TrimSpace(line[1:])
		default:
			var end quoteEnd
			if r.fields, end = appendFields(r.fields[:0], line, r.comma); end == open {
				return r.join(line)
			}
			return nil
		}
	}
}

// An errRow is what is wrong with one row.
type errRow struct{ error }

// maxRowLines is over how many lines a quoted field may go.
const maxRowLines = 100

// join reads the rest of a row whose first line ends within a quoted field. As quotes come in pairs, only a line with
// the second of one can be the last.
func (r *rowReader) join(first string) error {
	read := []string{first}
	inQuotes := true
	for size := len(first); inQuotes && size <= maxRow && len(read) < maxRowLines; {
		line, _, err := r.line()
		if err != nil {
			break // comes again
		}
		read = append(read, line)
		size += len(line) + 1
		inQuotes = strings.Count(line, `"`)%2 == 0
	}
	if !inQuotes {
		var end quoteEnd
		if r.fields, end = appendFields(r.fields[:0], strings.Join(read, "\n"), r.comma); end == closed {
			return nil
		}
	}
	r.ahead = append(read[1:], r.ahead...)
	return errRow{errOpenQuote}
}

// A quoteEnd says how the quotes of a row end.
type quoteEnd uint8

const (
	closed quoteEnd = iota
	loose           // something stands between a closing quote and the next delimiter
	open            // the row ends within quotes
)

// appendFields appends the fields of a row to dst.
func appendFields(dst []string, row string, comma byte) (fields []string, end quoteEnd) {
	for {
		for row != "" && (row[0] == ' ' || row[0] == '\t' && comma != '\t') {
			row = row[1:]
		}
		var value string
		inQuotes := strings.HasPrefix(row, `"`)
		if inQuotes {
			var ok bool
			if value, row, ok = quoted(row[1:]); !ok {
				return dst, open
			}
		}
		next := strings.IndexByte(row, comma)
		rest := row
		if next >= 0 {
			rest = row[:next]
		}
		if rest = strings.TrimSpace(rest); inQuotes && rest != "" {
			end = loose
		}
		if dst = append(dst, value+rest); next < 0 {
			return dst, end
		}
		row = row[next+1:]
	}
}

// quoted returns the content of a quoted field, of which s stands behind the opening quote, and what follows it; ok is
// false when the quote is not closed.
func quoted(s string) (value, rest string, ok bool) {
	end := strings.IndexByte(s, '"')
	if end < 0 {
		return "", "", false
	}
	if !strings.HasPrefix(s[end+1:], `"`) { // nearly always
		return s[:end], s[end+1:], true
	}
	var b strings.Builder
	for {
		b.WriteString(s[:end+1])
		s = s[end+2:]
		if end = strings.IndexByte(s, '"'); end < 0 {
			return "", "", false
		}
		if !strings.HasPrefix(s[end+1:], `"`) {
			b.WriteString(s[:end])
			return b.String(), s[end+1:], true
		}
	}
}

// columns are the places of fields by their names.
type columns map[string]int

func columnsOf(names []string) columns {
	c := make(columns, len(names))
	for i, name := range names {
		name = columnName(name)
		if _, ok := c[name]; !ok {
			c[name] = i
		}
	}
	return c
}

// columnName is the one spelling of a column's name: what a spreadsheet calls "IP Address" is ip_address.
func columnName(name string) string {
	return strings.NewReplacer(" ", "_", "-", "_").Replace(strings.ToLower(strings.TrimSpace(name)))
}

// delimiter returns what separates the fields of a header.
func delimiter(header string) byte {
	best, most := byte(','), 0
	for _, comma := range []byte{',', ';', '\t'} {
		if n := strings.Count(header, string(comma)); n > most {
			best, most = comma, n
		}
	}
	return best
}

// readRows reads CSV whose columns are named by its first row, or by the comment before it when that row begins with
// data. add gets each row; surplus says that rows may be longer than their header.
func (l *list) readRows(in *bufio.Reader, surplus bool, add func(columns, record) error) error {
	rows := rowReader{lines: lineReader{r: in}}
	l.where = func() string { return fmt.Sprintf("line %d", rows.n) }
	cols, err := l.givenColumns()
	if err != nil {
		return err
	}
	get := record(func(name string) string {
		if i, ok := cols[name]; ok && i < len(rows.fields) {
			return field(rows.fields[i])
		}
		return ""
	})
	rows.comma = delimiter(peekHeader(in))
	for {
		err := rows.next()
		var bad errRow
		switch {
		case err == io.EOF:
			return nil
		case errors.As(err, &bad):
			l.refuse("", bad.error)
			continue
		case err != nil:
			return err
		}
		if cols == nil {
			var data bool
			if cols, data, err = l.header(&rows); err != nil {
				return err
			}
			if !data {
				continue
			}
		}
		if n := len(rows.fields); n < len(cols) || n > len(cols) && !surplus {
			l.refuse(strings.Join(rows.fields, string(rows.comma)), fmt.Errorf("%d columns, header has %d", n, len(cols)))
			continue
		}
		if err := add(cols, get); err != nil {
			return err
		}
	}
}

// givenColumns returns the columns that the user names, or nil.
func (l *list) givenColumns() (columns, error) {
	if len(l.Columns) == 0 {
		return nil, nil
	}
	cols := columnsOf(l.Columns)
	if !cols.named() {
		return nil, noColumn(l.Columns)
	}
	return cols, nil
}

// noColumn returns the error for columns of which none holds indicators.
func noColumn(have []string) error {
	return fmt.Errorf("no column holds indicators (have: %s)", shorten(strings.Join(have, ", ")))
}

// peekHeader returns the first line that is no comment, or the whole of the head when there is none.
func peekHeader(in *bufio.Reader) string {
	head, _ := in.Peek(in.Size())
	for line := range strings.Lines(string(head)) {
		if text := strings.TrimSpace(line); text != "" && text[0] != '#' {
			return line
		}
	}
	return string(head)
}

// header returns the columns that the row or the comment before it name, and whether the row is data already.
func (l *list) header(rows *rowReader) (cols columns, data bool, err error) {
	if cols = columnsOf(rows.fields); cols.named() {
		return cols, false, nil
	}
	fields, _ := appendFields(nil, rows.header, rows.comma)
	if cols := columnsOf(fields); cols.named() && len(rows.fields) >= len(fields) {
		return cols, true, nil
	}
	return nil, false, noColumn(rows.fields)
}
