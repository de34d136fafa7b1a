using System.Globalization;
using BankingDemo.Model;
using CsvHelper;
using CsvHelper.Configuration;

namespace BankingDemo;

/// <summary>
/// Reads customers from CSV (UTF-8, a customer a line): columns Tenant (Guid), Number, FullName, Ssn, CreditLimit, BirthDate (yyyy-MM-dd, may be empty). A bad line is reported and left out,
/// the others are imported. Each line is parsed by itself, so that a quote that is never closed does not swallow the lines after it.
/// </summary>
internal static class CustomerImport
{
    private static readonly string[] Columns = ["Tenant", "Number", "FullName", "Ssn", "CreditLimit", "BirthDate"];

    public static (List<Customer> Customers, List<string> Errors) Read(string path)
    {
        var customers = new List<Customer>();
        var errors = new List<string>();
        string[]? header = null;
        var number = 0;
        foreach (var line in File.ReadLines(path))
        {
            number++;
            var fields = Split(line);
            if (header is null)
            {
                header = [.. fields?.Select(f => f.Trim()) ?? []];
                if (Columns.Except(header).Any())
                {
                    errors.Add($"line 1: the header must name {string.Join(", ", Columns)}; nothing is imported");
                    return (customers, errors);
                }
            }
            else if (line.Length > 0)
            {
                if (Problem(line, header, fields) is { } problem)
                {
                    errors.Add($"line {number}: {problem}; the line is left out");
                }
                else
                {
                    customers.Add(Parse(header, fields!));
                }
            }
        }

        if (header is null)
        {
            errors.Add($"the file is empty; its first line must name {string.Join(", ", Columns)}");
        }

        return (customers, errors);
    }

    /// <summary>The line's fields; null where its quotes are wrong.</summary>
    private static string[]? Split(string line)
    {
        var bad = false;
        using var reader = new StringReader(line);
        using var parser = new CsvParser(reader, new CsvConfiguration(CultureInfo.InvariantCulture) { BadDataFound = _ => bad = true });
        return parser.Read() && !bad && line.Count(c => c == '"') % 2 == 0 ? parser.Record : null;
    }

    /// <summary>What is wrong with the line, by column; never its values.</summary>
    private static string? Problem(string line, string[] header, string[]? fields)
    {
        if (line.Contains('\uFFFD', StringComparison.Ordinal))
        {
            return "the text is not UTF-8";
        }

        if (fields is null)
        {
            return "a quote is not closed, or stands inside a field";
        }

        if (fields.Length != header.Length)
        {
            return $"it has {fields.Length} fields, the header {header.Length}";
        }

        string Field(string column) => fields[Array.IndexOf(header, column)].Trim();
        if (!Guid.TryParse(Field("Tenant"), out var tenant) || tenant == Guid.Empty)
        {
            return "Tenant is no Guid";
        }

        foreach (var column in new[] { "Number", "FullName", "Ssn" })
        {
            if (Field(column).Length == 0)
            {
                return $"{column} is empty";
            }
        }

        if (!decimal.TryParse(Field("CreditLimit"), NumberStyles.Number, CultureInfo.InvariantCulture, out _))
        {
            return "CreditLimit is no number";
        }

        return Field("BirthDate").Length == 0 || DateOnly.TryParseExact(Field("BirthDate"), "yyyy-MM-dd", CultureInfo.InvariantCulture, DateTimeStyles.None, out _)
            ? null
            : "BirthDate is no date of the form yyyy-MM-dd";
    }

    private static Customer Parse(string[] header, string[] fields)
    {
        string Field(string column) => fields[Array.IndexOf(header, column)].Trim();
        return new Customer
        {
            TenantId = Guid.Parse(Field("Tenant")),
            Number = Field("Number"),
            FullName = Field("FullName"),
            Ssn = Field("Ssn"),
            CreditLimit = decimal.Parse(Field("CreditLimit"), CultureInfo.InvariantCulture),
            BirthDate = Field("BirthDate").Length == 0 ? null : DateOnly.ParseExact(Field("BirthDate"), "yyyy-MM-dd", CultureInfo.InvariantCulture),
        };
    }
}
