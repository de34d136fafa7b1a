using System.Reflection;
using EfEnvelope.Tests.Architecture;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Design;

namespace EfEnvelope.Tests.Samples;

/// <summary>The demo's migrations are those of its present model, EfEnvelope's tables and annotations included.</summary>
public sealed class DemoMigrationTests
{
    [Theory]
    [InlineData("SqliteBankContext", "Microsoft.EntityFrameworkCore.Sqlite")]
    [InlineData("PostgresBankContext", "Npgsql.EntityFrameworkCore.PostgreSQL")]
    public void No_change_of_the_model_is_without_a_migration(string name, string provider)
    {
        using var context = Create(name);
        Assert.Equal(provider, context.Database.ProviderName);
        Assert.NotEmpty(context.Database.GetMigrations());
        Assert.False(context.Database.HasPendingModelChanges(), $"dotnet ef migrations add NAME --context {name}");
    }

    /// <summary>As <c>dotnet ef</c> makes it: by the demo's own factory. The demo is no reference of the tests, which have namespaces of their own for the same names.</summary>
    private static DbContext Create(string name)
    {
        var output = new DirectoryInfo(AppContext.BaseDirectory.TrimEnd(Path.DirectorySeparatorChar));
        var demo = Assembly.LoadFrom(Path.Combine(RepositoryFolder.Path, "samples", "BankingDemo", "bin", output.Parent!.Name, output.Name, "BankingDemo.dll"));
        var factory = Assert.Single(demo.GetTypes(), t => t.GetInterfaces().Any(i => i.IsGenericType && i.GetGenericTypeDefinition() == typeof(IDesignTimeDbContextFactory<>) && i.GenericTypeArguments[0].Name == name));
        return (DbContext)factory.GetMethod("CreateDbContext")!.Invoke(Activator.CreateInstance(factory), [Array.Empty<string>()])!;
    }
}
