package local

import (
	"encoding/binary"
	"time"

	"iocpipe/extract"
	"iocpipe/intel"
)

// A kind is what an item says of the name it stands under. Its numbers are part of the file format, and their order is
// that of a name's items.
type kind uint8

const (
	exact   kind = iota // it is listed itself
	below               // the names below the domain are, as *.domain
	byURL               // a URL on this host is; extra is the URL
	related             // something malicious is named together with it; extra is a relation
)

// An item is one thing that one source says of a name.
type item struct {
	kind      kind
	verdict   intel.Verdict
	source    uint32 // place among the segment's sources
	statement uint64 // place among the statements of the source, in bytes
	extra     []byte
}

// hasExtra reports whether items of kind k carry more than their statement.
func (k kind) hasExtra() bool { return k >= byURL }

// appendItem appends it as the head (kind and verdict), source, statement and extra, all numbers as uvarint.
func appendItem(dst []byte, it *item) []byte {
	dst = append(dst, byte(it.kind)|byte(it.verdict)<<2)
	dst = binary.AppendUvarint(dst, uint64(it.source))
	dst = binary.AppendUvarint(dst, it.statement)
	if it.kind.hasExtra() {
		dst = binary.AppendUvarint(dst, uint64(len(it.extra)))
		dst = append(dst, it.extra...)
	}
	return dst
}

// readItem reads the first item of data and returns what stands behind it. Its extra aliases data. False says that data
// ends or is no item.
func readItem(data []byte) (it item, rest []byte, ok bool) {
	if len(data) < 3 {
		return it, nil, false
	}
	it.kind, it.verdict = kind(data[0]&3), intel.Verdict(data[0]>>2)
	source, rest, ok := readUvarint(data[1:])
	if !ok || it.verdict > intel.Malicious || source > 1<<31 {
		return it, nil, false
	}
	it.source = uint32(source)
	if it.statement, rest, ok = readUvarint(rest); ok && it.kind.hasExtra() {
		it.extra, rest, ok = readText(rest)
	}
	return it, rest, ok
}

func readUvarint(data []byte) (v uint64, rest []byte, ok bool) {
	if len(data) > 0 && data[0] < 0x80 { // nearly always
		return uint64(data[0]), data[1:], true
	}
	v, n := binary.Uvarint(data)
	if n <= 0 {
		return 0, nil, false
	}
	return v, data[n:], true
}

// readText reads bytes with their length before them.
func readText(data []byte) (text, rest []byte, ok bool) {
	n, rest, ok := readUvarint(data)
	if !ok || n > uint64(len(rest)) {
		return nil, nil, false
	}
	return rest[:n], rest[n:], true
}

// A relation is why a name is known though no source lists it itself.
type relation struct {
	via     extract.Key
	kind    string    // one of intel's By constants
	last    time.Time // a day, or zero
	derived bool      // made from a report that names it; else an entry of a list
}

// relationKinds are the By constants by their numbers in the file; only ever add to them.
var relationKinds = [...]string{
	"", intel.ByResolution, intel.BySubdomain, intel.ByHash, intel.ByEmail, intel.ByDomain, intel.ByParent, intel.ByURL,
	intel.ByReference,
}

const (
	derivedMark = 0x80
	day         = 24 * 60 * 60
)

// appendRelation appends r: kind and mark, the day since 1970, the type and the text of via.
func appendRelation(dst []byte, r *relation) []byte {
	var head byte
	for i, kind := range relationKinds {
		if kind == r.kind {
			head = byte(i)
		}
	}
	if r.derived {
		head |= derivedMark
	}
	days := max(r.last.Unix()/day, 0) // the zero time is long before
	dst = binary.AppendUvarint(append(dst, head), uint64(days))
	return append(append(dst, byte(r.via.Type)), r.via.Value...)
}

// readRelation reads what appendRelation wrote; r shares no memory with data.
func readRelation(data []byte) (r relation, ok bool) {
	if len(data) == 0 || int(data[0]&^derivedMark) >= len(relationKinds) {
		return r, false
	}
	r.kind, r.derived = relationKinds[data[0]&^derivedMark], isDerived(data)
	days, rest, ok := readUvarint(data[1:])
	if !ok || days > 1<<24 || len(rest) == 0 || rest[0] > byte(extract.Antivirus) {
		return r, false
	}
	if days > 0 {
		r.last = time.Unix(int64(days)*day, 0).UTC()
	}
	r.via = extract.Key{Type: extract.Type(rest[0]), Value: string(rest[1:])}
	return r, true
}

func isDerived(relation []byte) bool { return len(relation) > 0 && relation[0]&derivedMark != 0 }

// isListed reports whether it is an entry of a list, not a relation that a report of one implies.
func (it *item) isListed() bool { return it.kind != related || !isDerived(it.extra) }
