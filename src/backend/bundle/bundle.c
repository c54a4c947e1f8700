/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/bundle/bundle.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "backend/bundle/tar.h"
#include "backend/json.h"
#include "backend/store/ids.h"
#include "io/encoding.h"

#define MANIFEST "manifest.json"
#define MANIFEST_BYTES_MAX (64U << 10)
#define DIGEST_TEXT (2 * SONDE_ID_DIGEST_BYTES + 1)

static const char *const names[_SONDE_BUNDLE_FILE_MAX] = {
	"task.json",   "entities.jsonl", "series.jsonl",
	"flows.jsonl", "topology.json",	 "ledger.json",
};

/* --- hexadecimal --- */

json_t *sonde_bundle_hex(const void *data, size_t n)
{
	char *text = malloc(2 * n + 1);
	json_t *j;

	if (!text)
		return NULL;
	sonde_id_hex(data, n, text);
	j = json_string_nocheck(text);
	free(text);
	return j;
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int sonde_bundle_unhex(const char *text, struct sonde_buf *out)
{
	for (; *text; text += 2) {
		int high = digit(text[0]), low = high < 0 ? -1 : digit(text[1]), r;
		uint8_t byte;

		if (high < 0 || low < 0)
			return -EBADMSG;
		byte = (uint8_t)(high << 4 | low);
		r = sonde_buf_append(out, &byte, 1);
		if (r < 0)
			return r;
	}
	return 0;
}

/* --- writing --- */

void sonde_bundle_writer_init(struct sonde_bundle_writer *w)
{
	*w = (struct sonde_bundle_writer){0};
	for (size_t i = 0; i < _SONDE_BUNDLE_FILE_MAX; i++)
		w->file[i] = SONDE_BUF_INIT(SONDE_BUNDLE_BYTES_MAX);
}

void sonde_bundle_writer_done(struct sonde_bundle_writer *w)
{
	for (size_t i = 0; i < _SONDE_BUNDLE_FILE_MAX; i++)
		sonde_buf_done(&w->file[i]);
}

int sonde_bundle_add(struct sonde_bundle_writer *w, enum sonde_bundle_file file, json_t *row)
{
	_cleanup_json_ json_t *owned = row;
	_cleanup_free_ char *text = NULL;
	size_t n;
	int r;

	text = owned ? json_dumps(owned, JSON_COMPACT) : NULL;
	if (!text)
		return -ENOMEM;
	n = strlen(text);
	if (w->rows[file] == SONDE_BUNDLE_ROWS_MAX || n >= SONDE_BUNDLE_LINE_MAX)
		return -EMSGSIZE;
	r = sonde_buf_append(&w->file[file], text, n);
	if (r == 0)
		r = sonde_buf_append(&w->file[file], "\n", 1);
	if (r == 0)
		w->rows[file]++;
	return r;
}

static int file_json(const struct sonde_bundle_writer *w, size_t i, json_t *files)
{
	char digest[DIGEST_TEXT];
	int r;

	r = sonde_id_digest(w->file[i].len ? (const void *)w->file[i].data : "", w->file[i].len,
			    SONDE_ID_DIGEST_BYTES, digest);
	if (r < 0)
		return r;
	return sonde_json_append(files, json_pack("{s:s, s:I, s:I, s:s}", "name", names[i], "rows",
						  (json_int_t)w->rows[i], "bytes",
						  (json_int_t)w->file[i].len, "sha256", digest));
}

static int add_manifest(const struct sonde_bundle_writer *w, json_t *manifest,
			struct sonde_buf *tar)
{
	_cleanup_json_ json_t *files = json_array();
	_cleanup_json_ json_t *whole = json_pack("{s:s, s:i, s:O}", "format", "sonde-bundle",
						 "version", SONDE_BUNDLE_VERSION, "files", files);
	_cleanup_free_ char *text = NULL;
	int r = whole ? 0 : -ENOMEM;

	for (size_t i = 0; i < _SONDE_BUNDLE_FILE_MAX && r == 0; i++)
		r = file_json(w, i, files);
	if (r == 0 && json_object_update(whole, manifest) < 0)
		r = -ENOMEM;
	text = r == 0 ? json_dumps(whole, JSON_INDENT(1)) : NULL;
	if (!text)
		return r < 0 ? r : -ENOMEM;
	return strlen(text) > MANIFEST_BYTES_MAX ? -EMSGSIZE
						 : sonde_tar_add(tar, MANIFEST, text, strlen(text));
}

int sonde_bundle_write(struct sonde_bundle_writer *w, json_t *manifest, struct sonde_buf *out)
{
	_cleanup_buf_ struct sonde_buf tar = SONDE_BUF_INIT(SONDE_BUNDLE_BYTES_MAX);
	_cleanup_buf_ struct sonde_buf packed =
		SONDE_BUF_INIT(SONDE_BUNDLE_BYTES_MAX + SONDE_BUNDLE_BYTES_MAX / 8);
	int r = add_manifest(w, manifest, &tar);

	for (size_t i = 0; i < _SONDE_BUNDLE_FILE_MAX && r == 0; i++) {
		r = sonde_tar_add(&tar, names[i],
				  w->file[i].len ? (const void *)w->file[i].data : "",
				  w->file[i].len);
		sonde_buf_done(&w->file[i]);
	}
	if (r == 0)
		r = sonde_tar_end(&tar);
	if (r == 0)
		r = sonde_encode(SONDE_ENCODING_ZSTD, tar.data, tar.len, &packed);
	sonde_encoding_trim();
	if (r == 0 && packed.len > SONDE_BUNDLE_PACKED_MAX)
		return -EMSGSIZE;
	return r < 0 ? r : sonde_buf_append(out, packed.data, packed.len);
}

/* --- reading --- */

void sonde_bundle_done(struct sonde_bundle *b)
{
	json_decref(b->manifest);
	sonde_buf_done(&b->tar);
	*b = (struct sonde_bundle){0};
}

static int bad(struct sonde_problem *p, const char *what)
{
	return sonde_problem_set(p, 400, NULL, "cannot be read as a bundle: %s", what);
}

/* A damaged bundle, or no bundle at all? RFC 8878, 3.1.1: how each frame of zstd begins. */
static const char *why_not_unpacked(const uint8_t *data, size_t n)
{
	static const uint8_t magic[] = {0x28, 0xb5, 0x2f, 0xfd};

	return n >= sizeof(magic) && memcmp(data, magic, sizeof(magic)) == 0
		       ? "it is cut short or damaged, its zstd stream is not whole"
		       : "it is another kind of file, a bundle is compressed with zstd";
}

static int unpack(struct sonde_bundle *b, const void *data, size_t n, struct sonde_problem *p)
{
	int r;

	b->tar = SONDE_BUF_INIT(SONDE_BUNDLE_BYTES_MAX);
	r = n > SONDE_BUNDLE_PACKED_MAX ? -EMSGSIZE
					: sonde_decode(SONDE_ENCODING_ZSTD, data, n, &b->tar);
	sonde_encoding_trim();
	if (r == -EMSGSIZE)
		return sonde_problem_set(p, 413, NULL, "a bundle may have %u bytes, unpacked %u",
					 SONDE_BUNDLE_PACKED_MAX, SONDE_BUNDLE_BYTES_MAX);
	return r == -EBADMSG ? bad(p, why_not_unpacked(data, n)) : r;
}

static int take_manifest(struct sonde_bundle *b, const struct sonde_tar_file *f,
			 struct sonde_problem *p)
{
	char words[160];
	int line;

	if (strcmp(f->name, MANIFEST) != 0)
		return bad(p, "manifest.json is not its first file");
	if (f->n > MANIFEST_BYTES_MAX ||
	    sonde_json_parse((const char *)f->data, f->n, &b->manifest, &line, words) < 0 ||
	    !json_is_object(b->manifest))
		return bad(p, "manifest.json cannot be read");
	if (strcmp(sonde_json_get_text(b->manifest, "format", ""), "sonde-bundle") != 0)
		return bad(p, "manifest.json names another format");
	if (sonde_json_get_int(b->manifest, "version", 0) != SONDE_BUNDLE_VERSION)
		return bad(p, "its version is another");
	return 0;
}

static int take_file(struct sonde_bundle *b, const struct sonde_tar_file *f,
		     struct sonde_problem *p)
{
	const json_t *told = json_object_get(b->manifest, "files");
	char digest[DIGEST_TEXT];
	size_t i = 0, k = 0;
	const json_t *row;

	while (i < _SONDE_BUNDLE_FILE_MAX && strcmp(names[i], f->name) != 0)
		i++;
	if (i == _SONDE_BUNDLE_FILE_MAX)
		return bad(p, "it has a file that is none of a bundle");
	if (b->file[i].data)
		return bad(p, "it has a file twice");
	while (k < json_array_size(told) &&
	       strcmp(sonde_json_get_text(json_array_get(told, k), "name", ""), f->name) != 0)
		k++;
	row = json_array_get(told, k);
	if (!row ||
	    sonde_id_digest(f->n ? (const void *)f->data : "", f->n, SONDE_ID_DIGEST_BYTES,
			    digest) < 0 ||
	    strcmp(digest, sonde_json_get_text(row, "sha256", "")) != 0)
		return bad(p, "a file is not what manifest.json says of it");
	b->file[i].data = f->data;
	b->file[i].n = f->n;
	return 0;
}

int sonde_bundle_read(struct sonde_bundle *b, const void *data, size_t n,
		      struct sonde_problem *problem)
{
	struct sonde_tar_file f;
	size_t at = 0;
	int r;

	*b = (struct sonde_bundle){0};
	r = unpack(b, data, n, problem);
	if (r < 0)
		return r;
	while ((r = sonde_tar_next(b->tar.data, b->tar.len, &at, &f)) > 0) {
		r = b->manifest ? take_file(b, &f, problem) : take_manifest(b, &f, problem);
		if (r < 0)
			return r;
	}
	if (r < 0)
		return bad(problem, "it is not a tar of plain files");
	for (size_t i = 0; i < _SONDE_BUNDLE_FILE_MAX; i++) {
		if (!b->file[i].data)
			return bad(problem, "a file is missing");
	}
	return 0;
}

int sonde_bundle_each(const struct sonde_bundle *b, enum sonde_bundle_file file,
		      int (*fn)(void *ctx, const json_t *row), void *ctx,
		      struct sonde_problem *problem)
{
	const char *at = (const char *)b->file[file].data, *end = at + b->file[file].n;
	size_t rows = 0;
	int r = 0;

	while (at < end && r == 0) {
		_cleanup_json_ json_t *row = NULL;
		const char *stop = memchr(at, '\n', (size_t)(end - at));
		char words[160];
		int line;

		stop = stop ? stop : end;
		if (rows++ == SONDE_BUNDLE_ROWS_MAX || stop - at > SONDE_BUNDLE_LINE_MAX)
			return bad(problem, "a file has too many rows, or too long ones");
		r = sonde_json_parse(at, (size_t)(stop - at), &row, &line, words);
		if (r == -ENOMEM)
			return r;
		if (r < 0 || !json_is_object(row))
			return bad(problem, "a row is no JSON object");
		r = fn(ctx, row);
		at = stop < end ? stop + 1 : end;
	}
	return r;
}
