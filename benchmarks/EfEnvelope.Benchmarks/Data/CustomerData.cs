using EfEnvelope.Benchmarks.Running;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Benchmarks.Data;

/// <summary>A database with the same customers in the clear, under a tenant's key and under row keys; made once per provider, its rows when they are asked for. Both cipher backends read the same rows.</summary>
internal sealed class CustomerData
{
    public const string Libsodium = "libsodium";
    public const string Bcl = "bcl";

    private const int Batch = 1_000;

    private static readonly Guid Tenant = Guid.Parse("7f6a2c58-3f0b-4a52-9c11-0d5b6a1e9c01");
    private static readonly Dictionary<string, CustomerData> Made = new(StringComparer.Ordinal);

    private readonly HashSet<Type> _filled = [];

    private readonly DbContextOptions _plain;
    private readonly Dictionary<string, DbContextOptions> _sealed;

    private CustomerData(string provider, string connectionString)
    {
        _plain = new DbContextOptionsBuilder().Use(provider, connectionString).Options;
        _sealed = Backends.ToDictionary(
            backend => backend,
            backend => new DbContextOptionsBuilder().Use(provider, connectionString).UseEnvelopeEncryption(envelope => envelope
                .UseInMemoryKms(provider)
                .With(o => o with { Cipher = backend == Bcl ? CipherBackend.Bcl : CipherBackend.Libsodium })).Options,
            StringComparer.Ordinal);
    }

    public static IReadOnlyList<string> Backends => [Libsodium, Bcl];

    /// <summary>The provider's database, with rows of these types.</summary>
    public static async Task<CustomerData> GetAsync(string provider, RunSettings settings, params Type[] types)
    {
        if (!Made.TryGetValue(provider, out var data))
        {
            Made[provider] = data = new CustomerData(provider, await Databases.CreateAsync(provider));
            await using var context = data.Sealed(Libsodium);
            await context.Database.EnsureCreatedAsync();
        }

        foreach (var type in types.Where(data._filled.Add))
        {
            await (type == typeof(PlainCustomer) ? data.InsertAsync<PlainCustomer>(settings.Rows)
                : type == typeof(SealedCustomer) ? data.InsertAsync<SealedCustomer>(settings.Rows)
                : data.InsertAsync<RowKeyedCustomer>(settings.Rows));
            await using var statistics = data.Plain();
            await statistics.Database.ExecuteSqlRawAsync(provider == Databases.Sqlite ? "ANALYZE" : "VACUUM ANALYZE");
        }

        return data;
    }

    public PlainContext Plain() => new(_plain);

    public SealedContext Sealed(string backend) => new(_sealed[backend]);

    public static IEnumerable<T> Customers<T>(int first, int count)
        where T : ICustomer, new()
        => Enumerable.Range(first, count).Select(i => Fill(new T { Id = i, TenantId = Tenant }, i));

    /// <summary>Gives all five values.</summary>
    public static T Fill<T>(T customer, int number)
        where T : ICustomer
    {
        customer.FullName = $"Maria Magdalena Muster {number}";
        customer.Ssn = $"{number % 1000:000}-{number % 100:00}-{number % 10000:0000}";
        customer.Street = $"{number % 400} Rue de la République, Apt. {number % 90}";
        customer.CreditLimit = number * 10.25m;
        customer.BirthDate = new DateOnly(1950, 1, 1).AddDays(number % 20000);
        return customer;
    }

    private async Task InsertAsync<T>(int rows)
        where T : class, ICustomer, new()
    {
        for (var at = 1; at <= rows; at += Batch)
        {
            await using var context = Sealed(Libsodium);
            context.AddRange(Customers<T>(at, Math.Min(Batch, rows + 1 - at)));
            await context.SaveChangesAsync();
        }
    }
}
