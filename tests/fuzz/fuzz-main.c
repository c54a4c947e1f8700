/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz-NAME CORPUS…: replays each file of the folders (or files) through
 * LLVMFuzzerTestOneInput(); what libFuzzer links in its place is main() too.
 * Nothing to replay is a failure, not a pass.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"

#define INPUT_MAX (1UL << 20) /* bytes of a corpus file */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* From a buffer of exactly its size, so that ASan sees the first byte beyond. */
static int replay_file(const char *path)
{
	_cleanup_free_ uint8_t *all = malloc(INPUT_MAX);
	_cleanup_free_ uint8_t *data = NULL;
	FILE *f = fopen(path, "re");
	size_t n;

	if (!f || !all) {
		(void)fprintf(stderr, "%s: %s\n", path, strerror(errno));
		if (f)
			(void)fclose(f);
		return -1;
	}
	n = fread(all, 1, INPUT_MAX, f);
	(void)fclose(f);
	data = malloc(n > 0 ? n : 1);
	if (!data)
		return -1;
	memcpy(data, all, n);
	(void)LLVMFuzzerTestOneInput(data, n);
	return 1;
}

/* Return: how many files were replayed, -1 on failure. */
static int replay(const char *path)
{
	_cleanup_free_ struct dirent **entries = NULL;
	struct stat st;
	int n, done = 0;

	if (stat(path, &st) < 0)
		return -1;
	if (!S_ISDIR(st.st_mode))
		return replay_file(path);
	n = scandir(path, &entries, NULL, alphasort);
	for (int i = 0; i < n; i++) {
		_cleanup_free_ struct dirent *e = entries[i];
		char file[4096];
		int r;

		if (e->d_name[0] == '.' || done < 0)
			continue;
		(void)snprintf(file, sizeof(file), "%s/%s", path, e->d_name);
		r = replay_file(file);
		done = r < 0 ? -1 : done + r;
	}
	return n < 0 ? -1 : done;
}

int main(int argc, char *argv[])
{
	int total = 0;

	for (int i = 1; i < argc; i++) {
		int n = replay(argv[i]);

		if (n < 0)
			return 1;
		total += n;
	}
	(void)fprintf(stderr, "%d inputs\n", total);
	return total > 0 ? 0 : 1;
}
