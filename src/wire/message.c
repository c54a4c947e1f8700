/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/message.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

#define ALLOC_OVERHEAD_BYTES                                                                       \
	16 /* malloc's own, so that many small blocks count as what they cost */

struct budget {
	size_t left;
	bool spent;
	bool no_memory;
};

static void *budget_alloc(void *data, size_t n)
{
	struct budget *b = data;
	size_t cost;
	void *p;

	if (__builtin_add_overflow(n, ALLOC_OVERHEAD_BYTES, &cost) || cost > b->left) {
		b->spent = true;
		return NULL;
	}
	p = malloc(n > 0 ? n : 1);
	if (!p) {
		b->no_memory = true;
		return NULL;
	}
	b->left -= cost;
	return p;
}

/* What is freed is not given back: protobuf-c frees little on the way, and a bound may be strict. */
static void budget_free(void *data, void *p)
{
	free(p);
}

static int check_message(const ProtobufCMessage *m, size_t max);

/* @p: the field's value of a singular field, an element of a repeated one. */
static int check_value(const ProtobufCFieldDescriptor *f, void *const *p, size_t max)
{
	const char *s;
	size_t n;

	if (!*p)
		return 0;
	if (f->type == PROTOBUF_C_TYPE_MESSAGE)
		return check_message(*p, max);
	s = *p;
	n = strlen(s);
	if (n > max)
		return -EMSGSIZE;
	/* As proto3 has every string; protobuf-c does not look. */
	return sonde_is_utf8(s, n) ? 0 : -EILSEQ;
}

static int check_field(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f, size_t max)
{
	const char *base = (const char *)m;
	void *const *values;
	size_t n = 1;
	int r;

	if (f->type != PROTOBUF_C_TYPE_STRING && f->type != PROTOBUF_C_TYPE_MESSAGE)
		return 0;
	/* Of a oneof's members, which share their place, only the one that is set is what it says. */
	if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF &&
	    *(const uint32_t *)(const void *)(base + f->quantifier_offset) != f->id)
		return 0;
	values = (void *const *)(const void *)(base + f->offset);
	if (f->label == PROTOBUF_C_LABEL_REPEATED) {
		n = *(const size_t *)(const void *)(base + f->quantifier_offset);
		values = *(void *const *const *)(const void *)(base + f->offset);
	}
	for (size_t i = 0; i < n; i++) {
		r = check_value(f, &values[i], max);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Our messages do not contain themselves: the depth is that of the .proto files. */
static int check_message(const ProtobufCMessage *m, size_t max)
{
	int r;

	for (unsigned i = 0; i < m->n_unknown_fields; i++) {
		if (m->unknown_fields[i].tag == 0) /* no number; protobuf-c takes it as 80 00 */
			return -EBADMSG;
	}
	for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
		r = check_field(m, &m->descriptor->fields[i], max);
		if (r < 0)
			return r;
	}
	return 0;
}

int sonde_wire_unpack(const ProtobufCMessageDescriptor *descriptor, const uint8_t *data, size_t n,
		      const struct sonde_wire_limits *limits, ProtobufCMessage **ret)
{
	const struct sonde_wire_limits usual = sonde_wire_limits_for(n);
	_cleanup_(sonde_wire_freep) ProtobufCMessage *m = NULL;
	struct budget budget = {0};
	ProtobufCAllocator allocator = {budget_alloc, budget_free, &budget};
	int r;

	assert(descriptor && (data || n == 0) && ret);

	if (!limits)
		limits = &usual;
	budget.left = limits->alloc_bytes;
	m = protobuf_c_message_unpack(descriptor, &allocator, n, data);
	if (!m)
		return budget.no_memory ? -ENOMEM : budget.spent ? -EMSGSIZE : -EBADMSG;
	r = check_message(m, limits->string_bytes);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(m);
	return 0;
}

ProtobufCMessage *sonde_wire_free(ProtobufCMessage *message)
{
	ProtobufCAllocator allocator = {budget_alloc, budget_free, NULL};

	if (message)
		protobuf_c_message_free_unpacked(message, &allocator);
	return NULL;
}

int sonde_wire_pack(const ProtobufCMessage *message, struct sonde_buf *out)
{
	size_t n;
	int r;

	assert(message && out);

	n = protobuf_c_message_get_packed_size(message);
	r = sonde_buf_reserve(out, n);
	if (r < 0)
		return r;
	out->len += protobuf_c_message_pack(message, out->data + out->len);
	out->data[out->len] = 0;
	return 0;
}
