using System.Linq.Expressions;
using System.Reflection;
using Microsoft.EntityFrameworkCore.Storage.Json;
using Microsoft.EntityFrameworkCore.Storage.ValueConversion;

namespace EfEnvelope.Storage;

/// <summary>Marks the converters of encrypted columns.</summary>
internal interface IEnvelopeValueConverter
{
    string Token { get; }

    /// <summary>The user's own conversion that runs before sealing and after opening; null where there is none.</summary>
    ValueConverter? UserConverter { get; }
}

/// <summary>Converter between a property and its envelope: calls <see cref="EnvelopeConverterFunctions"/> with literals only.</summary>
internal sealed class EnvelopeValueConverter<TModel, TProvider>(
    Expression<Func<TModel, TProvider>> seal,
    Expression<Func<TProvider, TModel>> open,
    string token,
    ValueConverter? userConverter)
    : ValueConverter<TModel, TProvider>(seal, open), IEnvelopeValueConverter
{
    public string Token => token;

    public ValueConverter? UserConverter => userConverter;

    /// <summary>Seals, but prints the CLR default where a compiled model asks for it (<see cref="ModelSentinel"/>).</summary>
    public override Func<object?, object?> ConvertToProvider
        => value => value is TModel model && EqualityComparer<TModel>.Default.Equals(model, default!) && ModelSentinel.IsPrintable
            ? ModelSentinel.Print(base.ConvertToProvider, value)
            : base.ConvertToProvider(value);
}

/// <summary>Makes converters whose expressions hold literals only, so that compiled models can print them as code.</summary>
internal static class EnvelopeValueConverters
{
    private static readonly MethodInfo SealMethod = Method(nameof(EnvelopeConverterFunctions.Seal));
    private static readonly MethodInfo OpenMethod = Method(nameof(EnvelopeConverterFunctions.Open));
    private static readonly MethodInfo SealArmoredMethod = Method(nameof(EnvelopeConverterFunctions.SealArmored));
    private static readonly MethodInfo OpenArmoredMethod = Method(nameof(EnvelopeConverterFunctions.OpenArmored));
    private static readonly MethodInfo SealJsonMethod = Method(nameof(EnvelopeConverterFunctions.SealJson));
    private static readonly MethodInfo OpenJsonMethod = Method(nameof(EnvelopeConverterFunctions.OpenJson));

    /// <summary>A converter for a scalar of <paramref name="modelType"/>, after the user's conversion where there is one.</summary>
    public static ValueConverter Scalar(Type modelType, ValueConverter? userConverter, string token, bool armored)
    {
        var providerType = armored ? typeof(string) : typeof(byte[]);
        var valueType = userConverter?.ProviderClrType ?? modelType;
        valueType = Nullable.GetUnderlyingType(valueType) ?? valueType;
        var sealMethod = (armored ? SealArmoredMethod : SealMethod).MakeGenericMethod(valueType);
        var openMethod = (armored ? OpenArmoredMethod : OpenMethod).MakeGenericMethod(valueType);
        return Create(modelType, providerType, userConverter, token, sealMethod, openMethod, null);
    }

    /// <summary>A converter for a value that EF maps to one column as JSON; the reader-writer is written out as its constructor expression.</summary>
    public static ValueConverter Json(Type modelType, JsonValueReaderWriter readerWriter, string token)
        => Create(modelType, typeof(byte[]), null, token, SealJsonMethod.MakeGenericMethod(modelType), OpenJsonMethod.MakeGenericMethod(modelType), readerWriter.ConstructorExpression);

    /// <summary>The token of a converter, also after EF composed or rebuilt it (compiled models); null for any other converter.</summary>
    public static string? FindToken(ValueConverter? converter)
    {
        if (converter is IEnvelopeValueConverter envelope)
        {
            return envelope.Token;
        }

        if (converter is null || (converter.ProviderClrType != typeof(byte[]) && converter.ProviderClrType != typeof(string)))
        {
            return null;
        }

        return Tokens.GetValue(converter, static c =>
        {
            var finder = new TokenFinder();
            finder.Visit(c.ConvertToProviderExpression);
            return new TokenBox(finder.Token);
        }).Token;
    }

    private static readonly System.Runtime.CompilerServices.ConditionalWeakTable<ValueConverter, TokenBox> Tokens = [];

    private static ValueConverter Create(
        Type modelType, Type providerType, ValueConverter? user, string token, MethodInfo sealMethod, MethodInfo openMethod, Expression? readerWriter)
    {
        var model = Expression.Parameter(modelType, "value");
        Expression plain = user is null ? model : Inline(user.ConvertToProviderExpression, model, sealMethod.GetParameters()[0].ParameterType);
        Expression[] sealArguments = readerWriter is null ? [plain, Expression.Constant(token)] : [plain, readerWriter, Expression.Constant(token)];
        var seal = Expression.Lambda(Expression.Call(sealMethod, sealArguments), model);

        var cell = Expression.Parameter(providerType, "cell");
        Expression[] openArguments = readerWriter is null ? [cell, Expression.Constant(token)] : [cell, readerWriter, Expression.Constant(token)];
        Expression opened = Expression.Call(openMethod, openArguments);
        var open = Expression.Lambda(user is null ? opened : Inline(user.ConvertFromProviderExpression, opened, modelType), cell);
        return (ValueConverter)Activator.CreateInstance(
            typeof(EnvelopeValueConverter<,>).MakeGenericType(modelType, providerType), seal, open, token, user)!;
    }

    /// <summary>
    /// The body of a user's conversion. It may be declared for the nullable form of the property's type; EF converts no nulls, and neither do we.
    /// </summary>
    private static Expression Inline(LambdaExpression lambda, Expression argument, Type result)
    {
        var body = new Replacer(lambda.Parameters[0], As(argument, lambda.Parameters[0].Type)).Visit(lambda.Body);
        return As(body, result);
    }

    private static Expression As(Expression expression, Type type) => expression.Type == type ? expression : Expression.Convert(expression, type);

    private static MethodInfo Method(string name) => typeof(EnvelopeConverterFunctions).GetMethod(name)!;

    private sealed class Replacer(ParameterExpression parameter, Expression replacement) : ExpressionVisitor
    {
        protected override Expression VisitParameter(ParameterExpression node) => node == parameter ? replacement : node;
    }

    private sealed class TokenFinder : ExpressionVisitor
    {
        public string? Token { get; private set; }

        protected override Expression VisitMethodCall(MethodCallExpression node)
        {
            if (node.Method.DeclaringType == typeof(EnvelopeConverterFunctions) && node.Arguments[^1] is ConstantExpression { Value: string token })
            {
                Token = token;
            }

            return base.VisitMethodCall(node);
        }
    }

    private sealed class TokenBox(string? token)
    {
        public string? Token => token;
    }
}
