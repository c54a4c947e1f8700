/* SPDX-License-Identifier: Apache-2.0 */
/* A bundle from outside: as it comes, and (so that the fuzzer gets behind zstd) as the tar inside of one. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "backend/bundle/bundle.h"
#include "backend/bundle/tar.h"
#include "io/encoding.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int count(void *ctx, const json_t *row)
{
	size_t *n = ctx;

	assert(json_is_object(row));
	(*n)++;
	return 0;
}

static void read_bundle(const uint8_t *data, size_t size)
{
	struct sonde_problem problem = {0};
	struct sonde_bundle b;
	size_t n = 0;
	int r = sonde_bundle_read(&b, data, size, &problem);

	assert(r == 0 || problem.status == 400 || problem.status == 413);
	for (unsigned i = 0; r == 0 && i < _SONDE_BUNDLE_FILE_MAX; i++)
		r = sonde_bundle_each(&b, i, count, &n, &problem);
	sonde_bundle_done(&b);
}

static void read_tar(const uint8_t *data, size_t size)
{
	struct sonde_tar_file f;
	size_t at = 0;

	while (sonde_tar_next(data, size, &at, &f) > 0)
		assert(at <= size && f.data >= data && f.n <= size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_buf_ struct sonde_buf packed = SONDE_BUF_INIT(size + size / 8 + 1024);
	_cleanup_buf_ struct sonde_buf bytes = SONDE_BUF_INIT(1U << 20);
	_cleanup_free_ char *text = calloc(1, size + 1);

	if (!text || size > 1U << 20)
		return 0;
	memcpy(text, data, size);
	(void)!sonde_bundle_unhex(text, &bytes);
	read_tar(data, size);
	read_bundle(data, size);
	if (sonde_encode(SONDE_ENCODING_ZSTD, data, size, &packed) == 0)
		read_bundle(packed.data, packed.len);
	return 0;
}
