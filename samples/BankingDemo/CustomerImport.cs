using System.Globalization;
using BankingDemo.Model;
using CsvHelper;
using CsvHelper.Configuration;

namespace BankingDemo;

/// <summary>Reads customers from CSV: columns Tenant (Guid), Number, FullName, Ssn, CreditLimit, BirthDate (yyyy-MM-dd, may be empty). A bad line is reported and left out, the others are imported.</summary>
internal static class CustomerImport
{
    private static readonly string[] Columns = ["Tenant", "Number", "FullName", "Ssn", "CreditLimit", "BirthDate"];

    public static (List<Customer> Customers, List<string> Errors) Read(string path)
    {
        var customers = new List<Customer>();
        var errors = new List<string>();
        var configuration = new CsvConfiguration(CultureInfo.InvariantCulture) { BadDataFound = null, MissingFieldFound = null };
        using var reader = new StreamReader(path);
        using var csv = new CsvReader(reader, configuration);
        if (!csv.Read() || !csv.ReadHeader() || Columns.Except(csv.HeaderRecord ?? []).ToList() is { Count: > 0 } and var missing)
        {
            errors.Add($"line 1: the header must name {string.Join(", ", Columns)}");
            return (customers, errors);
        }

        while (csv.Read())
        {
            if (Parse(csv) is { } customer)
            {
                customers.Add(customer);
            }
            else
            {
                errors.Add($"line {csv.Parser.RawRow}: {Problem(csv)}; the line is left out");
            }
        }

        return (customers, errors);
    }

    private static Customer? Parse(CsvReader csv)
        => Problem(csv) is null
            ? new Customer
            {
                TenantId = Guid.Parse(csv["Tenant"]!),
                Number = csv["Number"]!.Trim(),
                FullName = csv["FullName"]!.Trim(),
                Ssn = csv["Ssn"]!.Trim(),
                CreditLimit = decimal.Parse(csv["CreditLimit"]!, CultureInfo.InvariantCulture),
                BirthDate = string.IsNullOrWhiteSpace(csv["BirthDate"]) ? null : DateOnly.ParseExact(csv["BirthDate"]!.Trim(), "yyyy-MM-dd", CultureInfo.InvariantCulture),
            }
            : null;

    /// <summary>What is wrong with the line, by column; never its values.</summary>
    private static string? Problem(CsvReader csv)
    {
        if (!Guid.TryParse(csv["Tenant"], out var tenant) || tenant == Guid.Empty)
        {
            return "Tenant is no Guid";
        }

        foreach (var column in new[] { "Number", "FullName", "Ssn" })
        {
            if (string.IsNullOrWhiteSpace(csv[column]))
            {
                return $"{column} is empty";
            }
        }

        if (!decimal.TryParse(csv["CreditLimit"], NumberStyles.Number, CultureInfo.InvariantCulture, out _))
        {
            return "CreditLimit is no number";
        }

        return string.IsNullOrWhiteSpace(csv["BirthDate"]) || DateOnly.TryParseExact(csv["BirthDate"]!.Trim(), "yyyy-MM-dd", CultureInfo.InvariantCulture, DateTimeStyles.None, out _)
            ? null
            : "BirthDate is no date of the form yyyy-MM-dd";
    }
}
