package local

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"io"
	"slices"
)

// A merger writes a segment from an old one, less the sources that are replaced, and what a builder holds.
type merger struct {
	*builder
	old     *segment // nil when there is none
	sources []sourceRow
	ofOld   []int // by old source: its place among sources, or -1 when it is gone
	ofNew   []int // by new source: the same
	newOf   []int // by place among sources: the new source, or -1

	group  []record // of one hash
	held   []byte   // the bytes of the group
	kept   []record
	items  []byte
	line   []byte
	sumOf  [2]uint64 // the old statement whose sum was taken last
	oldSum uint32

	names, listed uint64
	dirBits       uint // as many bits of a hash choose the bucket
	dir           []uint64
	filled        int
	nets          [2][]networkRow // IPv4, IPv6
}

const (
	mostOfName = 1 << 16 // records of one hash that an import may add, so that a hostile list cannot eat the memory
	perBucket  = 4       // names in a bucket, about
)

// merge writes the segment of b's entries and of what remains of old. Sources that b names are replaced, and so are
// those in gone.
func merge(w io.Writer, b *builder, old *segment, gone ...string) error {
	m := &merger{builder: b, old: old, sumOf: [2]uint64{^uint64(0), 0}}
	if len(b.order) > 0 {
		if err := b.endRun(); err != nil {
			return err
		}
	}
	m.placeSources(gone)
	out := &segmentWriter{w: bufio.NewWriterSize(w, 256<<10)}
	for _, step := range []func(*segmentWriter) error{
		m.writeStatements, m.writeRecords, m.writeDirectory, m.writeNetworks, m.writeSources,
	} {
		if err := step(out); err != nil {
			return err
		}
	}
	return out.finish(m)
}

// segmentOf returns the segment of b's entries in memory.
func segmentOf(b *builder) (*segment, error) {
	var data bytes.Buffer
	if err := merge(&data, b, nil); err != nil {
		return nil, err
	}
	return openSegment(slices.Clip(data.Bytes()), nil)
}

// placeSources lists the sources of the new segment: the old ones in their order, replaced or not, then the new.
func (m *merger) placeSources(gone []string) {
	placed := make(map[string]int)
	if m.old != nil {
		for _, row := range m.old.sources {
			if slices.Contains(gone, row.Name) {
				m.ofOld = append(m.ofOld, -1)
				continue
			}
			placed[row.Name] = len(m.sources)
			m.ofOld = append(m.ofOld, len(m.sources))
			m.sources, m.newOf = append(m.sources, row), append(m.newOf, -1)
		}
	}
	for i, row := range m.builder.sources {
		at, replaces := placed[row.Name]
		if !replaces {
			at = len(m.sources)
			m.sources, m.newOf = append(m.sources, row), append(m.newOf, -1)
		}
		m.ofNew = append(m.ofNew, at)
		m.sources[at], m.newOf[at] = row, i
	}
}

// stays reports whether the records of an old source remain.
func (m *merger) stays(source int) bool { return m.ofOld[source] >= 0 && m.newOf[m.ofOld[source]] < 0 }

// writeStatements copies the statements of each source as they are: records find them by their source.
func (m *merger) writeStatements(w *segmentWriter) error {
	w.begin(statements)
	for i := range m.sources {
		row := &m.sources[i]
		from, start := row.At, w.at
		row.At = w.at - w.sections[statements].at
		var r io.Reader
		if n := m.newOf[i]; n >= 0 {
			var err error
			if r, err = m.words.section(int64(from), int64(row.Size)); err != nil {
				return err
			}
		} else if words := m.old.bytes(statements, from, row.Size); words != nil {
			r = bytes.NewReader(words)
		} else {
			return m.old.err()
		}
		if _, err := io.Copy(w, r); err != nil {
			return err
		}
		row.Size = w.at - start
	}
	return nil
}

// writeRecords merges the runs with the old segment.
func (m *merger) writeRecords(w *segmentWriter) error {
	w.begin(records)
	m.dirBits = m.bits()
	m.dir = make([]uint64, 1<<m.dirBits+1)
	var all cursors
	if m.old != nil {
		if err := all.add(&segmentCursor{walk: walk{segment: m.old}}); err != nil {
			return err
		}
	}
	start := int64(0)
	for _, end := range m.ends {
		r, err := m.runs.section(start, end-start)
		if err != nil {
			return err
		}
		if err := all.add(&runCursor{r: bufio.NewReaderSize(r, 64<<10)}); err != nil {
			return err
		}
		start = end
	}
	for len(all) > 0 {
		if len(m.group) > 0 && m.group[0].hash != all[0].hash {
			if err := m.settle(w); err != nil {
				return err
			}
		}
		m.collect(&all[0].record)
		if err := all.advance(); err != nil {
			return err
		}
	}
	return m.settle(w)
}

// bits returns how many bits of the hash choose the bucket.
func (m *merger) bits() (bits uint) {
	names := m.records
	if m.old != nil {
		names += m.old.names
		for i, row := range m.old.sources {
			if !m.stays(i) {
				names -= min(names-m.records, uint64(row.Entries))
			}
		}
	}
	for ; perBucket<<bits < names && bits < 40; bits++ {
	}
	return bits
}

// collect adds a copy of r to the group, unless it is one that does not stay.
func (m *merger) collect(r *record) {
	switch {
	case !r.old && len(m.group) >= mostOfName:
		m.results[r.source].Excess++
		return
	case !r.old:
		r.source = uint32(m.ofNew[r.source])
	case m.ofOld[r.source] < 0 || m.stays(int(r.source)) && !m.old.holds(&r.item):
		return
	default:
		if !m.stays(int(r.source)) && r.isListed() {
			r.sum = m.sumOfOld(&r.item)
		}
		r.source = uint32(m.ofOld[r.source])
	}
	r.order = len(m.group)
	start := len(m.held)
	m.held = append(append(m.held, r.name...), r.extra...)
	held := *r
	held.name = m.held[start : start+len(r.name)]
	if r.extra != nil {
		held.extra = m.held[start+len(r.name):]
	}
	m.group = append(m.group, held)
}

// sumOfOld returns the sum of an old statement's words.
func (m *merger) sumOfOld(it *item) uint32 {
	id := [2]uint64{uint64(it.source), it.statement}
	if id != m.sumOf {
		_, words, _ := m.old.statementAt(it.source, it.statement)
		m.sumOf, m.oldSum = id, crc32.Checksum(words, castagnoli)
	}
	return m.oldSum
}

// writeGroup writes what is kept of one name and notes where it stands.
func (m *merger) writeGroup(w *segmentWriter) error {
	first := &m.kept[0]
	at := w.at - w.sections[records].at
	for bucket := int(first.hash >> (64 - m.dirBits)); m.filled <= bucket; m.filled++ {
		m.dir[m.filled] = at
	}
	m.items = m.items[:0]
	var isListed, isBelow bool
	for i := range m.kept {
		it := &m.kept[i].item
		isListed = isListed || it.kind == exact || it.kind == byURL && first.class != domain
		isBelow = isBelow || it.kind == below
		m.items = appendItem(m.items, it)
	}
	m.names++
	m.listed += count(isListed) + count(isBelow)
	switch first.class {
	case network4:
		m.nets[0] = append(m.nets[0], networkRow{subjectOf(network4, first.name).Net, at})
	case network6:
		m.nets[1] = append(m.nets[1], networkRow{subjectOf(network6, first.name).Net, at})
	}
	m.line = appendGroup(m.line[:0], first.class, first.name, m.items)
	_, err := w.Write(m.line)
	return err
}

func count(is bool) uint64 {
	if is {
		return 1
	}
	return 0
}

func (m *merger) writeDirectory(w *segmentWriter) error {
	end := w.at - w.sections[records].at
	for ; m.filled < len(m.dir); m.filled++ {
		m.dir[m.filled] = end
	}
	w.begin(directory)
	for _, at := range m.dir {
		m.line = binary.LittleEndian.AppendUint64(m.line[:0], at)
		if _, err := w.Write(m.line); err != nil {
			return err
		}
	}
	return nil
}

func (m *merger) writeNetworks(w *segmentWriter) error {
	for i, rows := range m.nets {
		w.begin(networks4 + section(i))
		if _, err := w.Write(appendNetworks(nil, rows)); err != nil {
			return err
		}
	}
	return nil
}

// writeSources writes the list of sources, with what there is of each.
func (m *merger) writeSources(w *segmentWriter) error {
	for i, n := range m.newOf {
		if n >= 0 {
			m.sources[i].Entries = m.results[n].Taken
		}
	}
	w.begin(sourceList)
	list, err := json.Marshal(m.sources)
	if err != nil {
		return err
	}
	_, err = w.Write(list)
	return err
}
