/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * gRPC framing: each message of a stream is led by a flag byte (compressed or
 * not) and its length. The reader takes DATA in pieces of any size, and takes
 * memory only for bytes that really came. Loop thread only.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "io/encoding.h"

#define SONDE_GRPC_FRAME_HEAD_BYTES 5

struct sonde_grpc_frames {
	size_t max_message_bytes;
	struct sonde_buf body; /* of a message that came in pieces */
	uint8_t head[SONDE_GRPC_FRAME_HEAD_BYTES];
	unsigned n_head;
};

/* 0 goes on; anything else stops the reader and is passed on. The message is borrowed, still as sent. */
typedef int (*sonde_grpc_frame_fn)(void *ctx, bool compressed, const uint8_t *data, size_t n);

void sonde_grpc_frames_init(struct sonde_grpc_frames *f, size_t max_message_bytes);
void sonde_grpc_frames_done(struct sonde_grpc_frames *f);

/*
 * Return: 0, -EBADMSG (the flag is neither 0 nor 1), -EMSGSIZE (a length over the maximum), -ENOMEM, or
 * what @fn returned. After any of these the reader must not be fed again.
 */
int sonde_grpc_frames_feed(struct sonde_grpc_frames *f, const uint8_t *data, size_t n,
			   sonde_grpc_frame_fn fn, void *ctx) _must_check_;

/* True while a message has begun and not ended: the stream's end is then an error. */
bool sonde_grpc_frames_midway(const struct sonde_grpc_frames *f);

/*
 * sonde_grpc_frame_append() - frame one message, compressed where that makes it smaller
 * @encoding: what the stream's grpc-encoding says; IDENTITY sends it as it is
 * @ret_n: bytes of the message as sent, without the head; may be NULL
 *
 * Return: 0, -EMSGSIZE, -ENOMEM, -EIO; on failure @out's content is as it was.
 */
int sonde_grpc_frame_append(struct sonde_buf *out, enum sonde_encoding encoding,
			    const uint8_t *data, size_t n, size_t *ret_n) _must_check_;
