/* SPDX-License-Identifier: Apache-2.0 */
/* What a process writes about itself: the first byte names the file. */
#include <stdlib.h>
#include <string.h>

#include "host/proc.h"
#include "model/process.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data + 1;
	struct sonde_proc_stat stat;
	struct sonde_proc_status status;
	char line[64], name[16];
	size_t argv0 = 0;

	if (size == 0)
		return 0;
	size--;
	switch (data[0]) {
	case 'S':
		if (sonde_proc_parse_stat(text, size, &stat) == 0 &&
		    strlen(stat.comm) >= sizeof(stat.comm))
			abort();
		break;
	case 'T':
		(void)!sonde_proc_parse_status(text, size, &status);
		break;
	default:
		sonde_proc_join_cmdline(text, size, line, sizeof(line), &argv0);
		if (strlen(line) >= sizeof(line) || argv0 > strlen(line))
			abort();
		sonde_process_set_name(name, sizeof(name), line);
		if (strlen(name) == 0 || strlen(name) >= sizeof(name))
			abort();
		break;
	}
	return 0;
}
