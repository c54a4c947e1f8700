/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Message: protobuf-c behind bounds. A few hostile bytes make protobuf-c allocate
 * a whole struct each, and it takes any bytes for a string; here the memory of a
 * message has a limit, its strings are UTF-8 of a bounded length, and packing goes into a
 * bounded buffer. No state, any thread.
 */

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* protobuf-c's fields are not const; packing writes through none of them. */
static inline char *sonde_wire_text(const char *s)
{
	union {
		const char *in;
		char *out;
	} u = {.in = s};

	return u.out;
}

struct sonde_wire_limits {
	size_t alloc_bytes;  /* of the whole message in memory */
	size_t string_bytes; /* of each string, without its NUL */
};

/*
 * What suits a message of @n serialised bytes: honest meters take 3 to 5 times their bytes in memory, an
 * empty sub-message 60 times.
 */
static inline struct sonde_wire_limits sonde_wire_limits_for(size_t n)
{
	return (struct sonde_wire_limits){.alloc_bytes = 65536 + n * 16, .string_bytes = 65536};
}

/*
 * sonde_wire_unpack() - a message from its bytes
 * @descriptor: "&skywalking__v3__commands__descriptor"
 * @limits: NULL = sonde_wire_limits_for(@n)
 *
 * Every known field's string, at any depth, is checked. *@ret (to be cast to the message's struct, and freed by
 * sonde_wire_free()) is set on success only. Return: 0, -EBADMSG (no such message), -EILSEQ (a string that is
 * no UTF-8), -EMSGSIZE (a limit), -ENOMEM.
 */
int sonde_wire_unpack(const ProtobufCMessageDescriptor *descriptor, const uint8_t *data, size_t n,
		      const struct sonde_wire_limits *limits, ProtobufCMessage **ret) _must_check_;

/* NULL is fine. Returns NULL. */
ProtobufCMessage *sonde_wire_free(ProtobufCMessage *message);
SONDE_DEFINE_CLEANUP(ProtobufCMessage *, sonde_wire_free)

/* Appends the serialised message to @out. Return: 0, -EMSGSIZE (out->max), -ENOMEM. */
int sonde_wire_pack(const ProtobufCMessage *message, struct sonde_buf *out) _must_check_;
