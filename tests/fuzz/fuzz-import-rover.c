/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration of Rover's: whatever it holds, what is made of it is YAML that our own reading understands or names. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/import-rover.h"
#include "config/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(sonde_yaml_freep) struct sonde_yaml_node *root = NULL;
	_cleanup_free_ char *made = NULL, *words = NULL, *error = NULL;
	static char variable[] = "ROVER_BACKEND_AUTHENTICATION=a: 'b' #c\n\xff";
	char *const variables[] = {variable, NULL};
	size_t n_made = 0, n_words = 0;
	FILE *out = open_memstream(&made, &n_made), *said = open_memstream(&words, &n_words);
	int r = -1;

	if (out && said)
		r = sonde_import_rover((const char *)data, size, "fuzz", variables, out, said);
	if (out)
		(void)fclose(out);
	if (said)
		(void)fclose(said);
	if (r == 0 && sonde_yaml_parse(made, n_made, "made", &root, &error) < 0)
		abort();
	return 0;
}
