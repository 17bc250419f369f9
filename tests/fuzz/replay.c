/*
 * The main of a fuzz target without a fuzzer: feeds it every file of the folders and files named, in order of name,
 * and prints TAP, one line for each argument.  An argument that holds no input at all is a failure.  A crash ends the
 * program, so each input is named on stderr first when FUZZ_VERBOSE is set.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX (64u << 20)

static int replay_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	struct stat st;

	if (f == NULL || fstat(fileno(f), &st) == -1 || st.st_size < 0 || st.st_size > (off_t)INPUT_MAX) {
		printf("# cannot read %s\n", path);
		if (f != NULL)
			fclose(f);
		return -1;
	}
	if (getenv("FUZZ_VERBOSE") != NULL)
		fprintf(stderr, "%s\n", path);
	size_t size = (size_t)st.st_size;
	uint8_t *data = malloc(size > 0 ? size : 1); /* exactly its size, so that ASan sees a byte too many */
	int r = data != NULL && fread(data, 1, size, f) == size ? 0 : -1;
	if (r == 0)
		LLVMFuzzerTestOneInput(data, size);
	free(data);
	fclose(f);
	return r;
}

static int replay_folder(const char *path, unsigned *count)
{
	struct dirent **names;
	int n = scandir(path, &names, NULL, alphasort), r = 0;

	if (n == -1)
		return -1;
	for (int i = 0; i < n; i++) {
		char file[4096];
		struct stat st;
		int len = snprintf(file, sizeof(file), "%s/%s", path, names[i]->d_name);
		if (len > 0 && (size_t)len < sizeof(file) && stat(file, &st) == 0 && S_ISREG(st.st_mode)) {
			r |= replay_file(file);
			(*count)++;
		}
		free(names[i]);
	}
	free(names);
	return r;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL && slash[1] != '\0' ? slash + 1 : path;
}

int main(int argc, char **argv)
{
	int failed = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("1..%d\n", argc - 1);
	for (int i = 1; i < argc; i++) {
		unsigned count = 0;
		struct stat st;
		int r = -1;

		if (stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode)) {
			r = replay_folder(argv[i], &count);
		} else {
			r = replay_file(argv[i]);
			count = 1;
		}
		if (r != 0 || count == 0)
			failed = 1;
		printf("%s %d - fuzz %s: %u inputs\n", r == 0 && count > 0 ? "ok" : "not ok", i, base_name(argv[i]),
		    count);
	}
	return failed;
}
