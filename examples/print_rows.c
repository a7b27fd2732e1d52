/*
 * print_rows MODEL.mmh TENSOR: the first row of a matrix, read through libmmh.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * cc print_rows.c $(pkg-config --cflags --libs mmh) -o print_rows
 */
#include <mmh.h>

#include <stdio.h>
#include <stdlib.h>

int main(int count, char **arguments)
{
    mmh_error err = { 0 };
    mmh_context *context = NULL;
    mmh_reader *reader = NULL;
    mmh_tensor_info tensor = { .struct_size = sizeof tensor };
    uint64_t number;
    if (count != 3)
        return fprintf(stderr, "usage: print_rows MODEL.mmh TENSOR\n"), 2;
    if (mmh_context_create(&context, NULL, &err) == MMH_OK &&
        mmh_open(context, arguments[1], &reader, &err) == MMH_OK &&
        mmh_find(reader, arguments[2], &number, &err) == MMH_OK &&
        mmh_tensor(reader, number, &tensor, &err) == MMH_OK && tensor.dimensions == 2) {
        uint64_t begin[2] = { 0, 0 }, end[2] = { 1, tensor.shape[1] };
        size_t columns = (size_t)tensor.shape[1],
               bytes = columns * mmh_dtype_bit_count(tensor.dtype) / 8;
        void *row = malloc(bytes + 1); /* only the chunks that hold this row are decoded */
        double *values = malloc((columns + 1) * sizeof *values * mmh_dtype_values(tensor.dtype));
        if (row && values &&
            mmh_load_slice(reader, number, begin, end, row, bytes, &err) == MMH_OK &&
            mmh_values(values, row, bytes, tensor.dtype, 0, columns, &err) == MMH_OK)
            for (size_t i = 0; i < columns; i++)
                printf("%g\n", values[i]);
        free(values);
        free(row);
    }
    if (err.status != MMH_OK)
        fprintf(stderr, "print_rows: %s: %s\n", mmh_status_name(err.status), err.message);
    mmh_close(reader);
    mmh_context_destroy(context);
    return err.status != MMH_OK;
}
