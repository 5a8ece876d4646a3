package local

import (
	"encoding/binary"
	"math"
	"sync/atomic"
	"time"

	"iocpipe/extract"
	"iocpipe/intel"
)

// listed is the report of a plain list: being listed means malicious.
var listed = &intel.Report{Known: true, Votes: -1, Voted: true}

// bare is what a statement is written as that says nothing but that.
var bare = string(intel.AppendStatement(nil, &intel.Statement{Report: *listed}))

// appendStatement appends s as it stands in a file: when it expires, in seconds since 1970 in 4 bytes (0 for never),
// then the length of its JSON and the JSON, which is empty for the plain statement of a plain list. It returns where
// the JSON begins.
func appendStatement(dst []byte, s *intel.Statement) (blob []byte, text int) {
	var expires uint32
	if !s.Expires.IsZero() {
		expires = uint32(min(max(s.Expires.Unix(), 1), math.MaxUint32))
	}
	dst = binary.LittleEndian.AppendUint32(dst, expires)
	forever := *s
	forever.Expires = time.Time{}
	json := intel.AppendStatement(nil, &forever)
	if string(json) == bare {
		json = nil
	}
	dst = binary.AppendUvarint(dst, uint64(len(json)))
	return append(dst, json...), len(dst)
}

// statementAt returns the parts of a statement, checked; false says that it is damaged.
func (s *segment) statementAt(source uint32, at uint64) (expires uint32, json []byte, ok bool) {
	if int(source) >= len(s.sources) {
		return 0, nil, s.damaged("source %d of %d", source, len(s.sources))
	}
	block := &s.sources[source]
	if at >= block.Size {
		return 0, nil, s.damaged("statement at %d of %d bytes", at, block.Size)
	}
	start, left := block.At+at, block.Size-at
	head := s.bytes(statements, start, min(left, 4+binary.MaxVarintLen64))
	if len(head) < 5 {
		return 0, nil, s.damaged("statement at %d of %d bytes", at, block.Size)
	}
	size, rest, ok := readUvarint(head[4:])
	if text := uint64(len(head) - len(rest)); ok && size <= left-text {
		json = s.bytes(statements, start+text, size)
		return binary.LittleEndian.Uint32(head), json, uint64(len(json)) == size
	}
	return 0, nil, s.damaged("statement at %d ends early", at)
}

// holds reports whether what it says has not expired.
func (s *segment) holds(it *item) bool {
	if int(it.source) < len(s.sources) && !s.sources[it.source].Expiring { // nearly always
		return true
	}
	expires, _, ok := s.statementAt(it.source, it.statement)
	return ok && (expires == 0 || time.Now().Unix() < int64(expires))
}

// statement returns a statement of a source, which is the same one each time while it is remembered; nil when it is
// damaged.
func (s *segment) statement(source uint32, at uint64) *intel.Statement {
	if int(source) >= len(s.sources) {
		return nil
	}
	id := s.sources[source].At + at
	slot := &s.memory.statements[id*0x9e3779b97f4a7c15>>(64-rememberedBits)]
	if r := slot.Load(); r != nil && r.id == id {
		return &r.Statement
	}
	expires, json, ok := s.statementAt(source, at)
	if !ok {
		return nil
	}
	r := &remembered{id: id}
	if len(json) == 0 {
		r.Report = *listed
	} else if stated, err := intel.ParseStatement(json); err != nil {
		s.damaged("statement at %d: %v", at, err)
		return nil
	} else {
		r.Statement = stated
	}
	if r.Source = s.sources[source].Name; expires != 0 {
		r.Expires = time.Unix(int64(expires), 0).UTC()
	}
	slot.Store(r)
	return &r.Statement
}

// rememberedBits is how many statements, and relations, a segment keeps read, as a power of two. Each has one place
// where it can be kept, so that readers need no lock; what else belongs there takes it.
const rememberedBits = 10

type remembered struct {
	id uint64
	intel.Statement
}

type rememberedRelation struct {
	id uint64
	relation
}

// A memory is what a segment has read lately, ready for the next finding.
type memory struct {
	statements [1 << rememberedBits]atomic.Pointer[remembered]
	relations  [1 << rememberedBits]atomic.Pointer[rememberedRelation]
}

// relation returns why an item of kind byURL or related makes its name known.
func (s *segment) relation(it *item) (r *relation, ok bool) {
	id := s.offsetOf(it.extra)
	slot := &s.memory.relations[id*0x9e3779b97f4a7c15>>(64-rememberedBits)]
	if r := slot.Load(); r != nil && r.id == id {
		return &r.relation, true
	}
	kept := &rememberedRelation{id: id}
	if it.kind == byURL {
		kept.relation = relation{via: extract.Key{Value: string(it.extra)}, kind: intel.ByURL}
	} else if kept.relation, ok = readRelation(it.extra); !ok {
		return nil, s.damaged("relation at %d", id)
	}
	slot.Store(kept)
	return &kept.relation, true
}
