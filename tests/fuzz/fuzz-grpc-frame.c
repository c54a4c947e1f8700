/* SPDX-License-Identifier: Apache-2.0 */
/* Byte 0: the size of the pieces, the rest: a stream. The same messages come out of pieces as of the whole. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "io/grpc-frame.h"

#define MESSAGE_BYTES_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int note(void *ctx, bool compressed, const uint8_t *data, size_t n)
{
	struct sonde_buf *seen = ctx;
	const uint64_t head = (uint64_t)n << 1 | compressed;

	if (n > MESSAGE_BYTES_MAX)
		abort();
	if (sonde_buf_append(seen, &head, sizeof(head)) < 0 || sonde_buf_append(seen, data, n) < 0)
		return -1;
	return 0;
}

static int read_stream(const uint8_t *data, size_t size, size_t piece, struct sonde_buf *seen)
{
	struct sonde_grpc_frames f;
	int r = 0;

	sonde_grpc_frames_init(&f, MESSAGE_BYTES_MAX);
	while (r == 0 && size > 0) {
		size_t n = piece < size ? piece : size;

		r = sonde_grpc_frames_feed(&f, data, n, note, seen);
		data += n;
		size -= n;
	}
	sonde_grpc_frames_done(&f);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_buf_ struct sonde_buf whole = SONDE_BUF_INIT(64 << 20),
				       pieces = SONDE_BUF_INIT(64 << 20);

	if (size < 1)
		return 0;
	if (read_stream(data + 1, size - 1, size, &whole) !=
		    read_stream(data + 1, size - 1, data[0] + 1U, &pieces) ||
	    whole.len != pieces.len ||
	    (whole.len > 0 && memcmp(whole.data, pieces.data, whole.len) != 0))
		abort();
	return 0;
}
