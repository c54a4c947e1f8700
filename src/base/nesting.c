/* SPDX-License-Identifier: Apache-2.0 */
#include "base/nesting.h"

bool sonde_json_shallow(const char *text, size_t len, unsigned int depth)
{
	unsigned int level = 0;
	bool in_string = false;

	for (size_t i = 0; i < len; i++) {
		if (in_string) {
			if (text[i] == '\\')
				i++;
			else if (text[i] == '"')
				in_string = false;
		} else if (text[i] == '"') {
			in_string = true;
		} else if (text[i] == '{' || text[i] == '[') {
			if (++level > depth)
				return false;
		} else if ((text[i] == '}' || text[i] == ']') && level > 0) {
			level--;
		}
	}
	return true;
}
